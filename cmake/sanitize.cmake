# Sanitizers for all that comes after: our own code. Generated messages come before, for they are protobuf's to check;
# compiled as in the dev preset, they are also found in its compiler cache.
if(ISTHMUS_SANITIZE)
  # A folder that everybody may write to. While it is there, what a sanitizer finds becomes a file in it, in the lab's containers
  # too; else it is printed.
  set(ISTHMUS_SANITIZER_REPORTS /var/tmp/isthmus-sanitizers)
  add_library(isthmus_sanitizer_defaults OBJECT tools/sanitizers/defaults.cc)
  # A finding of the undefined sanitizer ends the program, as those of the others do: a test must not pass over it.
  add_compile_options(-fsanitize=${ISTHMUS_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_compile_options(isthmus_sanitizer_defaults PRIVATE -fno-sanitize=all)
  target_compile_definitions(isthmus_sanitizer_defaults PRIVATE ISTHMUS_SANITIZER_REPORTS="${ISTHMUS_SANITIZER_REPORTS}")
  add_link_options(-fsanitize=${ISTHMUS_SANITIZE})
  link_libraries(isthmus_sanitizer_defaults)
  if(ISTHMUS_SANITIZE STREQUAL "thread")
    # protobuf's headers lay messages out differently when they see this sanitizer's macro (PROTOBUF_TSAN), and Debian's library and
    # the generated messages are built without. So only the standard library's headers are told; libstdc++ asks _GLIBCXX_TSAN.
    add_compile_options(-U__SANITIZE_THREAD__ -D_GLIBCXX_TSAN=1)
  endif()
endif()
