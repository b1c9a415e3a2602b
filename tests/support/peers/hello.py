"""The tutorials' own client: HOST PORT NAME... ; prints the welcome and each answer."""

import socket
import sys

host, port, names = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
client.settimeout(60)
client.connect((host, port))
print(client.recv(1024).decode("utf-8"))
for name in names:
    client.send(name.encode("utf-8"))
    print(client.recv(1024).decode("utf-8"))
client.send(b"exit")
assert client.recv(1024) == b"", "the server closes after exit"
client.close()
