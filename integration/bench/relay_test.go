package main

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestLane holds what a path does to datagrams against a calculation by hand, in time that stands still.
func TestLane(t *testing.T) {
	now := time.Unix(0, 0)
	const size = 1250 // 10,000 bits: 1 ms at 10 Mbit/s
	tests := []struct {
		name string
		path path
		want []time.Duration // until each arrives; -1 for one that is lost
	}{
		{"nothing", path{}, []time.Duration{0, 0}},
		{"delay", path{Delay: 5 * time.Millisecond}, []time.Duration{5 * time.Millisecond, 5 * time.Millisecond}},
		{"rate", path{Rate: 10e6, Queue: 3 * time.Millisecond}, []time.Duration{time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond, -1, -1}},
		{"all are lost", path{Loss: 1}, []time.Duration{-1, -1}},
		{"all are late", path{Delay: 1, Late: 1, LateBy: 2}, []time.Duration{3, 3}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := newLane(test.path, 1)
			for i, want := range test.want {
				due, arrives := l.admit(now, size)
				if arrives != (want >= 0) || arrives && due.Sub(now) != want {
					t.Errorf("datagram %d arrives: %v, after %v; want %v", i, arrives, due.Sub(now), want)
				}
			}
		})
	}
}

// TestRelay sends datagrams through a relay to an echo, and gets back exactly those that the seed lets pass.
func TestRelay(t *testing.T) {
	listen := func() (*net.UDPConn, netip.AddrPort) {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		return c, c.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	target, at := listen()
	defer target.Close()
	go func() {
		b := make([]byte, largest)
		for {
			n, from, err := target.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = target.WriteToUDPAddrPort(b[:n], from) // what is lost is missed below
		}
	}()
	free, front := listen()
	free.Close()
	p := path{Loss: 0.5}
	const seed = 7
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- relay{front, at, p, seed}.run(ctx, func() { close(ready) }) }()
	<-ready
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()

	// Each that passes is waited for, so that the one after it is not lost for want of a buffer.
	there, back := newLane(p, seed), newLane(p, seed+1)
	client, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(front))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	returned := 0
	for i := range uint32(100) {
		if _, err := client.Write(binary.BigEndian.AppendUint32(nil, i)); err != nil {
			t.Fatal(err)
		}
		_, arrives := there.admit(time.Time{}, 4)
		if arrives {
			_, arrives = back.admit(time.Time{}, 4)
		}
		if !arrives {
			continue
		}
		returned++
		b := make([]byte, largest)
		n, err := client.Read(b)
		if err != nil || n != 4 || binary.BigEndian.Uint32(b) != i {
			t.Fatalf("got %x, %v; want datagram %d", b[:n], err, i)
		}
	}
	if returned < 10 || returned > 40 {
		t.Errorf("%d of 100 came back, want about a quarter", returned)
	}
}
