package main

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestClientUID: the user of a client is found for every kind of socket, and not for one that its process has closed.
func TestClientUID(t *testing.T) {
	for _, test := range []struct{ name, listen, dial string }{
		{"IPv4", "127.0.0.1:0", "127.0.0.1"},
		{"IPv6", "[::1]:0", "::1"},
		{"IPv4 by a socket for IPv6", "127.0.0.1:0", "::ffff:127.0.0.1"},
		{"other addresses of loopback", "127.0.0.3:0", "127.0.0.3"},
	} {
		ln, err := net.Listen("tcp", test.listen)
		if err != nil {
			t.Fatal(err)
		}
		client := dialRaw(t, netip.AddrPortFrom(netip.MustParseAddr(test.dial), uint16(ln.Addr().(*net.TCPAddr).Port)))
		server, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if uid, err := clientUID(server); err != nil || uid != os.Getuid() {
			t.Errorf("%s: got %d, %v", test.name, uid, err)
		}
		unix.Close(client)
		if uid, err := clientUID(server); err == nil {
			t.Errorf("%s: of a closed socket: got %d", test.name, uid)
		}
		server.Close()
		ln.Close()
	}
}

// dialRaw connects a socket of the family of the address, as package net does not for a mapped one.
func dialRaw(t *testing.T, to netip.AddrPort) (fd int) {
	t.Helper()
	var address unix.Sockaddr = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	family := unix.AF_INET6
	if to.Addr().Is4() {
		address, family = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}, unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, address); err != nil {
		t.Fatal(err)
	}
	return fd
}
