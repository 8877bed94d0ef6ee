# Sanitizers for all that comes after: our own code. Generated messages come before, for they are protobuf's to check;
# compiled as in the dev preset, they are also found in its compiler cache.
if(ISTHMUS_SANITIZE)
  # A finding of the undefined sanitizer ends the program, as those of the others do: a test must not pass over it.
  add_compile_options(-fsanitize=${ISTHMUS_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${ISTHMUS_SANITIZE})
endif()
