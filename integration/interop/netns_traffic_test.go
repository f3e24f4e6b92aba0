package interop

import (
	"context"
	"slices"
	"sync"
	"testing"
)

// The tests named TestNetns are the phases of the kernel's own test, netns.sh,
// that an engine without a network interface can pass, by their number there.

// TestNetns01OverIPv4 is the exact count of bytes, and every kind of traffic.
func TestNetns01OverIPv4(t *testing.T) {
	t.Parallel()
	eachPair(t, func(t *testing.T, from, to implementation) {
		testTraffic(t, unite(t, from, to, union{outer: loopback4}))
	})
}

// TestNetns03OverIPv6 is the same with IPv6 outside.
func TestNetns03OverIPv6(t *testing.T) {
	t.Parallel()
	needAddress(t, loopback6)
	eachPair(t, func(t *testing.T, from, to implementation) {
		testTraffic(t, unite(t, from, to, union{outer: loopback6}))
	})
}

func testTraffic(t *testing.T, c *couple) {
	testCounters(t, c)
	const streamed, parallel = 256 << 10, 10
	for i := range fromInside {
		from, to := fromInside[i].Addr(), toInside[i].Addr()
		ping(t, c.from, to)
		ping(t, c.to, from)
		echoDatagrams(t, c.from, c.to, at(toInside[i], 7), sizes)
		echoDatagrams(t, c.to, c.from, at(fromInside[i], 7), sizes)
		exchange(t, c.from, c.to, at(toInside[i], 9), streamed)
		exchangeMany(t, c.from, c.to, at(toInside[i], 11), parallel, streamed/parallel)
	}
}

// testCounters: ten packets of 84 bytes are sent and answered. Each makes a
// datagram of 128 bytes; the initiation has 148 and the response 92. The
// initiator may owe a keepalive.
func testCounters(t *testing.T, c *couple) {
	const payload = 84 - 20 - 8 // less the headers of IPv4 and UDP
	echoDatagrams(t, c.from, c.to, at(toInside[0], 7), slices.Repeat([]int{payload}, 10))
	const sent, received, keepalive = 1428, 1372, 32
	var counted [4]uint64
	ok := eventually(func() bool {
		p, q := peerOf(t, c.from, c.toKey), peerOf(t, c.to, c.fromKey)
		counted = [4]uint64{p.Sent, p.Received, q.Received, q.Sent}
		return counted == [4]uint64{sent, received, sent, received} ||
			counted == [4]uint64{sent + keepalive, received, sent + keepalive, received}
	})
	if !ok {
		t.Errorf("the initiator counts %d sent and %d received, the responder %d received and %d sent; want %d and %d, or %d more for a keepalive",
			counted[0], counted[1], counted[2], counted[3], sent, received, keepalive)
	}
}

// exchangeMany is exchange over many connections at once.
func exchangeMany(t *testing.T, from, to end, address string, connections int, size int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ln, err := to.Listen(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	var talking sync.WaitGroup
	defer talking.Wait()
	defer ln.Close()
	for i := range connections {
		talking.Go(func() {
			c, err := from.DialContext(ctx, "tcp", address)
			if err == nil {
				err = talk(c, seedFrom, seedTo, size)
			}
			if err != nil {
				t.Errorf("connection %d, the end that dialed: %v", i, err)
				cancel() // or the other end waits for it
			}
		})
	}
	for i := range connections {
		c, err := ln.Accept()
		if err != nil {
			t.Errorf("connection %d: %v", i, err)
			return
		}
		talking.Go(func() {
			if err := talk(c, seedTo, seedFrom, size); err != nil {
				t.Errorf("connection %d, the end that listened: %v", i, err)
			}
		})
	}
}

// TestNetns04Padding: packets are padded to a multiple of 16, but not beyond
// the MTU, whatever that is.
func TestNetns04Padding(t *testing.T) {
	t.Parallel()
	eachPair(t, func(t *testing.T, from, to implementation) {
		const mtu, overhead = 1299, 32
		c := unite(t, from, to, union{mtu: mtu, toMTU: mtu})
		service, err := c.to.ListenPacket(t.Context(), "udp", at(toInside[0], 7))
		if err != nil {
			t.Fatal(err)
		}
		defer service.Close()
		conn, err := c.from.DialContext(t.Context(), "udp", at(toInside[0], 7))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		var counted [2]uint64 // sent and received
		count := func() { counted = [2]uint64{peerOf(t, c.from, c.toKey).Sent, peerOf(t, c.to, c.fromKey).Received} }
		ping(t, c.from, toInside[0].Addr())
		if !eventually(func() bool { count(); return counted[0] == counted[1] }) {
			t.Fatalf("%d bytes were sent and %d received", counted[0], counted[1])
		}
		want := counted[0]
		for _, test := range []struct{ size, padded uint64 }{
			{29, 32}, {32, 32}, {33, 48}, {84, 96}, {1280, 1280}, {1281, 1296}, {1296, 1296}, {1297, mtu}, {1298, mtu}, {mtu, mtu},
		} {
			payload := make([]byte, test.size-28)
			if _, err := conn.Write(payload); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, mtu)
			n, _, err := service.ReadFrom(buf)
			if err != nil || n != len(payload) {
				t.Fatalf("a datagram of %d bytes came as %d (%v)", len(payload), n, err)
			}
			want += test.padded + overhead
			if !eventually(func() bool { count(); return counted == [2]uint64{want, want} }) {
				t.Fatalf("after a packet of %d bytes %d were sent and %d received, want %d of both: padded to %d",
					test.size, counted[0], counted[1], want, test.padded)
			}
		}
	})
}

// TestNetns09TunnelInTunnel: the sockets of one tunnel are inside another one.
func TestNetns09TunnelInTunnel(t *testing.T) {
	t.Parallel()
	eachPair(t, func(t *testing.T, from, to implementation) {
		// An inner packet costs 60 bytes over IPv4.
		const mtu = 1420 - 60
		outer := unite(t, from, to, union{})
		inner := unite(t, from, to, union{
			outer: toInside[0].Addr(), mtu: mtu, toMTU: mtu,
			fromSockets: insideOf(outer.from, fromInside[0].Addr()),
			toSockets:   insideOf(outer.to, toInside[0].Addr()),
		})
		for i := range fromInside {
			ping(t, inner.from, toInside[i].Addr())
			ping(t, inner.to, fromInside[i].Addr())
			exchange(t, inner.from, inner.to, at(toInside[i], 9), 256<<10)
		}
		endpoint := peerOf(t, inner.to, inner.fromKey).Endpoint
		if endpoint.Addr() != fromInside[0].Addr() {
			t.Errorf("the inner tunnel came from %v, want from inside the outer one", endpoint)
		}
		in, out := peerOf(t, inner.from, inner.toKey), peerOf(t, outer.from, outer.toKey)
		if in.Sent == 0 || in.Sent >= out.Sent {
			t.Errorf("the inner tunnel sent %d bytes, the outer one %d to carry them", in.Sent, out.Sent)
		}
	})
}
