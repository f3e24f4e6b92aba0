package main

import (
	"context"
	"io"
	"net"
	"net/netip"
)

// runSplice is the reference without a tunnel: a proxy that copies through 256 KiB in user space.
func runSplice(ctx context.Context, address string, ready func()) error {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { ln.Close() })
	ready()
	for {
		c, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		go splice(c)
	}
}

func splice(c net.Conn) {
	defer c.Close()
	dial := func(to netip.AddrPort) (net.Conn, error) { return net.Dial("tcp", to.String()) }
	far, err := acceptVia(c, dial)
	if err != nil {
		return
	}
	defer far.Close()
	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{c, far}, {far, c}} {
		go func() {
			copyPlainly(way[0], way[1])
			ended <- struct{}{}
		}()
	}
	<-ended // a benchmark's connections end as a whole
}

// copyPlainly hides from io.Copy that the kernel could copy alone: a tunnel's data have to pass the program.
func copyPlainly(to, from net.Conn) {
	_, _ = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 256<<10))
}
