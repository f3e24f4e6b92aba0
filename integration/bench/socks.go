package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
)

// SOCKS5 as RFC 1928 has it, and of it only what a benchmark needs: no authentication, CONNECT, IPv4.
const (
	greetingSize = 3  // version, one method, none
	choiceSize   = 2  // version, method
	messageSize  = 10 // version, command or reply, reserved, type of address, address, port
)

// connectVia asks the proxy at the other end of c for a connection.
func connectVia(c io.ReadWriter, target netip.AddrPort) error {
	if _, err := c.Write([]byte{5, 1, 0}); err != nil {
		return err
	}
	var b [messageSize]byte
	if _, err := io.ReadFull(c, b[:choiceSize]); err != nil {
		return fmt.Errorf("greeting of the proxy: %w", err)
	}
	if b[1] != 0 {
		return errors.New("the proxy wants authentication")
	}
	if _, err := c.Write(message(1, target)); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return fmt.Errorf("reply of the proxy: %w", err)
	}
	if b[1] != 0 {
		return fmt.Errorf("the proxy's reply to CONNECT is %d", b[1])
	}
	return nil
}

// acceptVia is the proxy's side of connectVia, where the connection comes from dial.
func acceptVia(c io.ReadWriter, dial func(netip.AddrPort) (net.Conn, error)) (net.Conn, error) {
	var b [messageSize]byte
	if _, err := io.ReadFull(c, b[:greetingSize]); err != nil {
		return nil, err
	}
	if !bytes.Equal(b[:greetingSize], []byte{5, 1, 0}) {
		return nil, errors.New("not the bench's own greeting")
	}
	if _, err := c.Write([]byte{5, 0}); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return nil, err
	}
	target := netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[8:]))
	far, err := dial(target)
	if err != nil {
		_, _ = c.Write(message(5, target))
		return nil, err
	}
	_, err = c.Write(message(0, target))
	return far, err
}

// message is a request or, with the same layout, a reply.
func message(code byte, at netip.AddrPort) []byte {
	b := append([]byte{5, code, 0, 1}, at.Addr().AsSlice()...)
	return binary.BigEndian.AppendUint16(b, at.Port())
}
