// Package service is what stands at the far end of a benchmark: a sink, a source and an echo, on whatever stack listens.
// The bench's own far end and the reference programs of the nested module serve the same.
package service

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// The services are on ports that follow each other.
const (
	// Sink reads. For each [Confirm] bytes it writes one back, so that the sender counts what has arrived and not what
	// lies in buffers.
	Sink = iota
	// Source reads a rate, 8 bytes in network order, and writes for ever: as many bytes a second, or for 0 what it can.
	Source
	// Echo writes back what it reads. It has many ports, so that a stack that makes thousands of short connections does
	// not run out of its own.
	Echo
	// Ports is how many ports there are.
	Ports = Echo + Echoes
)

const (
	// Echoes is how many ports the echo has.
	Echoes = 32
	// Confirm is what Sink confirms with one byte.
	Confirm = 256 << 10
	// buffer is the unit of reads and writes.
	buffer = 256 << 10
	// tick is how often a paced writer writes.
	tick = time.Millisecond
)

// Serve serves on the ports from base on until ctx ends; it calls ready when all of them listen.
func Serve(ctx context.Context, listen func(port int) (net.Listener, error), base int, ready func()) error {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for port := range Ports {
		ln, err := listen(base + port)
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { ln.Close() })
		serve := echo
		switch port {
		case Sink:
			serve = sink
		case Source:
			serve = source
		}
		tasks.Go(func() { accept(ctx, ln, serve) })
	}
	ready()
	<-ctx.Done()
	return nil
}

// accept gives each connection to serve, until the listener is closed.
func accept(ctx context.Context, ln net.Listener, serve func(net.Conn)) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	for {
		c, err := ln.Accept()
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(tick) // no descriptors left, for instance
			continue
		}
		tasks.Go(func() {
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			serve(c)
		})
	}
}

func sink(c net.Conn) {
	b := make([]byte, buffer)
	received, confirmed := 0, 0
	for {
		n, err := c.Read(b)
		received += n
		for ; err == nil && received-confirmed >= Confirm; confirmed += Confirm {
			_, err = c.Write(b[:1])
		}
		if err != nil {
			return
		}
	}
}

func source(c net.Conn) {
	var rate [8]byte
	if _, err := io.ReadFull(c, rate[:]); err == nil {
		_ = Write(c, int(binary.BigEndian.Uint64(rate[:]))) // until the other end closes
	}
}

func echo(c net.Conn) {
	b := make([]byte, 2<<10)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}

// Write writes rate bytes a second, in portions of a millisecond's worth, or for 0 what w takes, until w fails. What a
// slow w does not take in a second is not made up for.
func Write(w io.Writer, rate int) error {
	b := make([]byte, buffer)
	if rate == 0 {
		for {
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
	}
	start, written := time.Now(), 0
	for {
		due := int(time.Since(start).Seconds() * float64(rate))
		if due-written > rate {
			start, written, due = time.Now(), 0, 0
		}
		n, err := w.Write(b[:min(len(b), due-written)])
		if err != nil {
			return err
		}
		if written += n; written == due {
			time.Sleep(tick)
		}
	}
}
