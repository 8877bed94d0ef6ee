"""Listens on a machine's eth0 until its input ends, then prints what passed between it and machines of other networks, as JSON:
the TCP ports that were served, other protocols, names that TLS asked for, and what was not TLS on a gateway's port."""
import json
import re
import select
import socket
import struct
import sys

THEIRS = set(sys.argv[1:])  # Addresses of the other networks' machines.
TLS_PORTS = {15443}
ports, protocols, names, plain, begun = set(), set(), set(), [], {}
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
link.bind(("eth0", 0))
print("listening", flush=True)
while True:
    readable, _, _ = select.select([link, sys.stdin], [], [])
    if link not in readable:
        break
    frame = link.recv(65535)
    header = frame[14:]
    length = (header[0] & 15) * 4
    source, target = socket.inet_ntoa(header[12:16]), socket.inet_ntoa(header[16:20])
    if not THEIRS & {source, target}:
        continue
    if header[9] != socket.IPPROTO_TCP:
        protocols.add(header[9])
        continue
    segment = header[length:struct.unpack(">H", header[2:4])[0]]
    from_port, to_port = struct.unpack(">HH", segment[:4])
    payload, flags = segment[(segment[12] >> 4) * 4:], segment[13]
    if flags & 0x12 == 0x02:  # SYN
        ports.add(to_port)
        begun[source, from_port, target, to_port] = begun[target, to_port, source, from_port] = True
    if not payload or not TLS_PORTS & {from_port, to_port}:
        continue
    names.update(name.decode() for name in re.findall(rb"outbound_\.[0-9]+_\.[a-z0-9]*_\.[a-z0-9.-]+", payload))
    # The first bytes of either side are a handshake.
    if begun.pop((source, from_port, target, to_port), False) and payload[:2] != b"\x16\x03" or b"HTTP/1." in payload:
        plain.append(payload[:60].hex())
json.dump({"ports": sorted(ports), "protocols": sorted(protocols), "names": sorted(names), "plain": plain}, sys.stdout)
