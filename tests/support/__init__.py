"""What the black-box tests share: the process, the bytes on the wire, the sockets and the clients."""
