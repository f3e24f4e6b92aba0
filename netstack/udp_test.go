package netstack

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

func TestUDP(t *testing.T) {
	for _, to := range []netip.Addr{right4, right6} {
		for _, size := range []int{0, 1, 1392, 1393, 9000, 65507 - 20} {
			p := newPair(t)
			server, err := p.right.ListenPacket(t.Context(), "udp", ":7")
			if err != nil {
				t.Fatal(err)
			}
			client, err := p.left.DialContext(t.Context(), "udp", netip.AddrPortFrom(to, 7).String())
			if err != nil {
				t.Fatal(err)
			}
			data, buf := noise(uint64(size), size), make([]byte, 65535)
			if n, err := client.Write(data); n != size || err != nil {
				t.Fatalf("%v, %d bytes: Write: %d, %v", to, size, n, err)
			}
			n, from, err := server.ReadFrom(buf)
			if err != nil || !bytes.Equal(buf[:n], data) {
				t.Fatalf("%v, %d bytes: ReadFrom: %d, %v", to, size, n, err)
			}
			if from.String() != client.LocalAddr().String() {
				t.Errorf("datagram of %v comes from %v", client.LocalAddr(), from)
			}
			if n, err := server.WriteTo(data, from); n != size || err != nil {
				t.Fatalf("%v, %d bytes: WriteTo: %d, %v", to, size, n, err)
			}
			if n, err := client.Read(buf); err != nil || !bytes.Equal(buf[:n], data) {
				t.Fatalf("%v, %d bytes: Read: %d, %v", to, size, n, err)
			}
			if s := p.left.Stats(); s.DeliverMalformed+s.DeliverChecksum != 0 {
				t.Errorf("packets were dropped: %+v", s)
			}
		}
	}
}

func TestUDPErrors(t *testing.T) {
	p := newPair(t)
	c, err := p.left.DialContext(t.Context(), "udp", "10.0.0.2:7")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Read after a datagram to a closed port: %v; want ECONNREFUSED", err)
	}
	if _, err := c.(*UDPConn).WriteTo([]byte("x"), c.RemoteAddr()); !errors.Is(err, net.ErrWriteToConnected) {
		t.Errorf("WriteTo on a connected socket: %v", err)
	}
	c.SetReadDeadline(time.Now())
	if _, err := c.Read(make([]byte, 1)); err == nil || !err.(net.Error).Timeout() {
		t.Errorf("Read past its deadline: %v", err)
	}
	if _, err := c.Write(make([]byte, 65536)); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("Write of 65,536 bytes: %v; want EMSGSIZE", err)
	}

	u, err := p.left.ListenPacket(t.Context(), "udp", "10.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.WriteTo([]byte("x"), &net.TCPAddr{}); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("WriteTo a TCP address: %v", err)
	}
	if _, err := u.(*UDPConn).Write([]byte("x")); !errors.Is(err, syscall.EDESTADDRREQ) {
		t.Errorf("Write without an address: %v; want EDESTADDRREQ", err)
	}
	// One destination that fails does not disturb the others.
	for range 3 {
		_, _ = u.WriteTo([]byte("x"), &net.UDPAddr{IP: right4.AsSlice(), Port: 9})
	}
	other, err := p.right.ListenPacket(t.Context(), "udp", ":8")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.WriteTo([]byte("y"), &net.UDPAddr{IP: right4.AsSlice(), Port: 8}); err != nil {
		t.Error(err)
	}
	if n, _, err := other.ReadFrom(make([]byte, 9)); n != 1 || err != nil {
		t.Errorf("ReadFrom: %d, %v", n, err)
	}
}

func TestUDPCutsWhatDoesNotFit(t *testing.T) {
	p := newPair(t)
	server, err := p.right.ListenPacket(t.Context(), "udp4", ":7")
	if err != nil {
		t.Fatal(err)
	}
	client, err := p.left.DialContext(t.Context(), "udp4", "10.0.0.2:7")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"first", "second", "third"} {
		if _, err := client.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"fir", "", "third"} {
		buf := make([]byte, len(want))
		if n, _, err := server.ReadFrom(buf); err != nil || string(buf[:n]) != want {
			t.Errorf("ReadFrom: %q, %v; want %q", buf[:n], err, want)
		}
	}
}
