package interop

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// TestRekey offers traffic every second, in real time, until a second
// handshake has replaced the first, in both roles. TCP must not notice.
func TestRekey(t *testing.T) {
	t.Parallel()
	// Both in one test, because each is nearly all waiting.
	conversations := []*conversation{
		converse(t, setup{weInitiate: true, preshared: true, outer: loopback4}),
		converse(t, setup{weInitiate: false, preshared: true, outer: loopback4}),
	}
	seconds := time.NewTicker(time.Second)
	defer seconds.Stop()
	for left := 160; left > 0; left-- {
		<-seconds.C
		rekeyed := true
		for _, c := range conversations {
			c.turn(t)
			rekeyed = rekeyed && len(c.ours) > 1 && len(c.theirs) > 1
		}
		if rekeyed {
			break
		}
	}
	for _, c := range conversations {
		c.turn(t) // with the new keys
		c.check(t)
	}
}

// conversation is a TCP connection to an echo service, and the handshakes that
// both ends saw while it lasted.
type conversation struct {
	tun          *tunnel
	weInitiate   bool
	conn         net.Conn
	turns        byte
	ours, theirs []time.Time
}

func converse(t *testing.T, s setup) *conversation {
	t.Helper()
	tun := openTunnel(t, s)
	address := at(tun.toInside[0], 7)
	ln, err := tun.to.Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if c, err := ln.Accept(); err == nil {
			defer c.Close()
			_, _ = io.Copy(c, c) // who is not answered will say so
		}
	}()
	c := &conversation{tun: tun, weInitiate: s.weInitiate}
	t.Cleanup(func() {
		if c.conn != nil {
			c.conn.Close()
		}
		ln.Close()
		<-served
	})
	if c.conn, err = tun.from.DialContext(t.Context(), "tcp", address); err != nil {
		t.Fatal(err)
	}
	return c
}

// turn says something, hears it back, and looks at the handshakes.
func (c *conversation) turn(t *testing.T) {
	t.Helper()
	c.turns++
	said := bytes.Repeat([]byte{c.turns}, 4000)
	heard := make([]byte, len(said))
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.conn.Write(said); err != nil {
		t.Fatalf("turn %d: %v", c.turns, err)
	}
	if _, err := io.ReadFull(c.conn, heard); err != nil {
		t.Fatalf("turn %d: %v", c.turns, err)
	}
	if !bytes.Equal(heard, said) {
		t.Fatalf("turn %d: other bytes came back than were sent", c.turns)
	}
	c.ours = c.note(c.ours, c.tun.ours.Device().Snapshot().Peers[0].LastHandshake)
	c.theirs = c.note(c.theirs, c.tun.theirs.lastHandshake(t))
}

// note adds the last handshake to those that an end had. wireguard-go arms the
// timer that repeats an initiation after it was sent, and an answer that was
// faster does not stop it: what comes of that replaces the first handshake.
func (c *conversation) note(handshakes []time.Time, last time.Time) []time.Time {
	const repeated = 10 * time.Second
	n := len(handshakes)
	switch {
	case n > 0 && handshakes[n-1].Equal(last):
		return handshakes
	case n == 1 && !c.weInitiate && last.Sub(handshakes[0]) < repeated:
		return []time.Time{last}
	}
	return append(handshakes, last)
}

// check checks that there were two handshakes, as far apart as they have to be
// at least (Rekey-After-Time), and that no packet was lost on the way.
func (c *conversation) check(t *testing.T) {
	t.Helper()
	for engine, times := range map[string][]time.Time{"our": c.ours, "wireguard-go's": c.theirs} {
		if len(times) != 2 {
			t.Errorf("%s handshakes were at %v, want two of them", engine, times)
			continue
		}
		apart := times[1].Sub(times[0])
		if apart < 119*time.Second {
			t.Errorf("%s second handshake came %v after the first, want 120 s", engine, apart)
		}
		t.Logf("initiate=%t: %s second handshake came %v after the first, %d turns", c.weInitiate, engine, apart.Round(time.Millisecond), c.turns)
	}
	if drops := c.tun.ours.Device().Drops(); len(drops) > 0 {
		t.Errorf("our Device dropped %v", drops)
	}
}
