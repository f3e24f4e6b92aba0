package interop

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

const (
	maxSteps = 24
	stepSize = 10
)

// The kinds of steps.
const (
	sayInitiation = iota
	sayResponse
	sayData       // in the newest session
	sayOldData    // in any session with any counter
	sayLateData   // with a counter near the largest
	sayCookie     // a cookie reply
	sayAgain      // what was said before
	sayJunk       // bytes with a type
	hearSomething // a packet for the peer
	stepKinds
)

// step is one thing that happens.
type step struct {
	kind   byte
	a, b   uint16 // what they mean depends on the kind
	flip   byte   // changes one byte of the message, if not zero,
	at     uint16 // this one
	resign bool   // and the MACs are made for the changed message
	cut    int8   // bytes that are added to the message or cut off
	from   byte
}

// parseStep reads the first stepSize bytes, append writes them.
func parseStep(b []byte) step {
	return step{
		kind: b[0] % stepKinds,
		a:    binary.BigEndian.Uint16(b[1:]), b: binary.BigEndian.Uint16(b[3:]),
		flip: b[5], at: binary.BigEndian.Uint16(b[6:]) & 0x7fff, resign: b[6]&0x80 != 0,
		cut: int8(b[8]), from: b[9] % 8,
	}
}

func (s step) append(b []byte) []byte {
	at := s.at
	if s.resign {
		at |= 0x8000
	}
	b = append(b, s.kind)
	b = binary.BigEndian.AppendUint16(b, s.a)
	b = binary.BigEndian.AppendUint16(b, s.b)
	b = append(b, s.flip)
	b = binary.BigEndian.AppendUint16(b, at)
	return append(b, byte(s.cut), s.from)
}

// script is a dialogue as the fuzzer has it.
func script(steps ...step) (b []byte) {
	for _, s := range steps {
		b = s.append(b)
	}
	return b
}

// step has one thing happen to both, and compares what came of it.
func (tr *trial) step(t *testing.T, s step) {
	t.Helper()
	from := netip.AddrPortFrom(peerAt.Addr(), peerAt.Port()+uint16(s.from))
	switch s.kind {
	case sayInitiation:
		tr.stamp += int(int8(s.a))
		tr.newest = max(tr.newest, tr.stamp)
		tr.notTooSoon()
	case hearSomething:
		for _, subject := range tr.subjects {
			subject.send(ipv4Packet(peerOwns4, 28+int(s.a)%1000)) // to the peer, from anybody
		}
	}
	tr.tell(from, func(sp *speaker) []byte {
		if msg := s.message(sp, tr.stamp, from); msg != nil {
			return s.change(sp, msg)
		}
		return nil
	})
	tr.compare(t, fmt.Sprintf("%+v", s))
}

// message is what a speaker is to say, or nil if there is nothing.
func (s step) message(sp *speaker, stamp int, from netip.AddrPort) []byte {
	switch s.kind {
	case sayInitiation:
		return sp.initiation(timestamp(stamp))
	case sayResponse:
		return sp.response()
	case sayData:
		x := sp.session(0)
		if x == nil {
			return nil
		}
		x.counter++
		return sp.data(0, x.counter-1, s.plain())
	case sayOldData:
		return sp.data(int(s.a>>8)%4, uint64(s.b), s.plain())
	case sayLateData:
		return sp.data(0, engine.RejectAfterMessages-3+uint64(s.b%6), s.plain())
	case sayCookie:
		return sp.cookieReply(from)
	case sayAgain:
		if len(sp.said) > 0 {
			return bytes.Clone(sp.said[int(s.a)%len(sp.said)])
		}
	case sayJunk:
		b := bytes.Repeat([]byte{byte(s.a >> 8)}, int(s.b))
		if len(b) >= 4 {
			binary.LittleEndian.PutUint32(b, uint32(s.a&0xff))
		}
		return b
	}
	return nil
}

// change makes a message another one.
func (s step) change(sp *speaker, msg []byte) []byte {
	msg = append(msg, make([]byte, max(s.cut, 0))...)
	msg = msg[:max(len(msg)+min(int(s.cut), 0), 0)]
	if s.flip != 0 && len(msg) > 0 && !s.inside() {
		msg[int(s.at)%len(msg)] ^= s.flip
	}
	if s.resign && (len(msg) == message.InitiationSize || len(msg) == message.ResponseSize) {
		sp.sign(msg)
	}
	return msg
}

// inside tells that a change is one of the plaintext.
func (s step) inside() bool {
	return s.resign && (s.kind == sayData || s.kind == sayOldData || s.kind == sayLateData)
}

// The plaintexts of data.
const (
	plainKeepalive = iota
	plainIPv4
	plainIPv4Foreign // from an address that is nobody's
	plainIPv4Stolen  // from one of the neighbour's
	plainIPv6
	plainIPv6Foreign
	plainIPv6Stolen
	plainIPv6Mapped // from an address of the peer's, but as IPv6
	plainOther
	plainKinds
)

func (s step) plain() []byte {
	var plain []byte
	size := int(s.b) % 1400
	switch s.a & 0xff % plainKinds {
	case plainIPv4:
		plain = ipv4Packet(peerOwns4, 20+size)
	case plainIPv4Foreign:
		plain = ipv4Packet(netip.MustParseAddr("10.9.0.1"), 20+size)
	case plainIPv4Stolen:
		plain = ipv4Packet(netip.MustParseAddr("10.0.0.200"), 20+size)
	case plainIPv6:
		plain = ipv6Packet(peerOwns6, 40+size)
	case plainIPv6Foreign:
		plain = ipv6Packet(netip.MustParseAddr("fd09::1"), 40+size)
	case plainIPv6Stolen:
		plain = ipv6Packet(netip.MustParseAddr("fd00::8001"), 40+size)
	case plainIPv6Mapped:
		plain = ipv6Packet(netip.AddrFrom16(peerOwns4.As16()), 40+size)
	case plainOther:
		plain = make([]byte, 1+size)
	}
	if s.inside() && len(plain) > 0 {
		plain[int(s.at)%len(plain)] ^= s.flip
	}
	if len(plain) >= 6 && plain[0]>>4 == 6 {
		plain[4] &= 0x7f // see TestDifferences, about long packets
	}
	return plain
}

// dialogues are where the fuzzer starts from.
var dialogues = [][]step{
	{ // a session that the peer began, and all kinds of data
		{kind: sayInitiation, a: 1, from: 1},
		{kind: sayData, a: plainKeepalive, from: 2},
		{kind: sayData, a: plainIPv4, b: 64},
		{kind: sayData, a: plainIPv4Foreign, b: 64, from: 3},
		{kind: sayData, a: plainIPv4Stolen, b: 64, from: 4},
		{kind: sayData, a: plainIPv6, b: 1000},
		{kind: sayData, a: plainIPv6Foreign, b: 1},
		{kind: sayData, a: plainIPv6Stolen, b: 1},
		{kind: sayData, a: plainIPv6Mapped, b: 1},
		{kind: sayData, a: plainOther, b: 30},
		{kind: hearSomething, a: 100},
	},
	{ // a session that the subject began, with a response that was changed first
		{kind: hearSomething, a: 100},
		{kind: sayResponse, flip: 1, at: 20, resign: true},
		{kind: sayResponse, flip: 1, at: 20},
		{kind: sayResponse, from: 1},
		{kind: sayResponse},
		{kind: hearSomething, a: 200},
		{kind: sayData, a: plainIPv4, b: 64},
	},
	{ // initiations that are old, repeated, changed, cut, and from another index
		{kind: sayInitiation, a: 10},
		{kind: sayAgain, from: 1},
		{kind: sayInitiation, a: 0},
		{kind: sayInitiation, a: 0xff},
		{kind: sayInitiation, a: 5, flip: 1, at: 5, resign: true},
		{kind: sayInitiation, a: 5, flip: 1, at: 2, resign: true},
		{kind: sayInitiation, a: 5, flip: 1, at: 120},
		{kind: sayInitiation, a: 5, flip: 1, at: 140},
		{kind: sayInitiation, a: 5, cut: -1},
		{kind: sayInitiation, a: 5, cut: 1},
		{kind: sayInitiation, a: 5},
	},
	{ // counters: again, inside the window, below it, beyond the last one
		{kind: sayInitiation, a: 1},
		{kind: sayOldData, a: plainIPv4, b: 9000},
		{kind: sayOldData, a: plainIPv4, b: 9000},
		{kind: sayOldData, a: plainIPv4, b: 9000 - 8127},
		{kind: sayOldData, a: plainIPv4, b: 9000 - 8128},
		{kind: sayOldData, a: plainIPv4, b: 9000 - 8129},
		{kind: sayLateData, a: plainIPv4, b: 3},
		{kind: sayLateData, a: plainIPv4, b: 2},
		{kind: sayLateData, a: plainIPv4, b: 4},
	},
	{ // sessions take each other's place
		{kind: sayInitiation, a: 1},
		{kind: sayInitiation, a: 1},
		{kind: sayOldData, a: 1<<8 | plainIPv4, b: 1},
		{kind: sayData, a: plainIPv4, b: 1},
		{kind: sayInitiation, a: 1},
		{kind: sayOldData, a: 1<<8 | plainIPv4, b: 2},
		{kind: sayData, a: plainIPv4, b: 1},
		{kind: sayOldData, a: 1<<8 | plainIPv4, b: 3},
		{kind: sayOldData, a: 2<<8 | plainIPv4, b: 4},
		{kind: sayInitiation, a: 1},
		{kind: sayOldData, a: 1<<8 | plainIPv4, b: 5},
		{kind: sayOldData, a: 2<<8 | plainIPv4, b: 5},
	},
	{ // a cookie, used, and two initiations that cross
		{kind: hearSomething, a: 100},
		{kind: sayCookie, flip: 1, at: 40},
		{kind: sayCookie},
		{kind: sayInitiation, a: 1},
		{kind: sayResponse},
		{kind: sayCookie},
		{kind: sayData, a: plainIPv4, b: 1},
		{kind: sayInitiation, a: 1},
	},
	{ // lengths in the header of a packet that are not its own
		{kind: sayInitiation, a: 1},
		{kind: sayData, a: plainIPv4, b: 64, flip: 0x10, at: 3, resign: true},
		{kind: sayData, a: plainIPv4, b: 64, flip: 0x01, at: 3, resign: true},
		{kind: sayData, a: plainIPv4, b: 64, flip: 0xff, at: 2, resign: true},
		{kind: sayData, a: plainIPv6, b: 64, flip: 0x10, at: 5, resign: true},
		{kind: sayData, a: plainIPv6, b: 63, flip: 0x7f, at: 5, resign: true},
		{kind: sayData, a: plainIPv6, b: 64, flip: 0x7f, at: 4, resign: true},
		{kind: sayData, a: plainIPv4, b: 64, flip: 0x20, at: 0, resign: true},
		{kind: sayData, a: plainIPv6, b: 10, flip: 0x20, at: 0, resign: true},
	},
	{ // junk of every type
		{kind: sayJunk, a: 1, b: 148},
		{kind: sayJunk, a: 1, b: 148, resign: true},
		{kind: sayJunk, a: 2, b: 92, resign: true},
		{kind: sayJunk, a: 0x0503, b: 64},
		{kind: sayJunk, a: 0x0504, b: 32},
		{kind: sayJunk, a: 4, b: 31},
		{kind: sayJunk, a: 5, b: 148},
		{kind: sayJunk, b: 0},
		{kind: sayJunk, a: 0xff04, b: 65535},
	},
}
