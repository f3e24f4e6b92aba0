package message_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/wimble-proxy/wimble/wireguard/message"
)

var fixedSizes = map[message.Type]int{
	message.TypeInitiation:  message.InitiationSize,
	message.TypeResponse:    message.ResponseSize,
	message.TypeCookieReply: message.CookieReplySize,
}

// typed is a datagram of n bytes, each different from its neighbours, with the
// first word of type t as far as it has room.
func typed(t message.Type, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	var word [4]byte
	binary.LittleEndian.PutUint32(word[:], uint32(t))
	copy(b, word[:])
	return b
}

// TestClassify tries every type, unknown ones too, at every length up to 200
// and at the longest that UDP carries.
func TestClassify(t *testing.T) {
	lengths := []int{65507}
	for n := range 201 {
		lengths = append(lengths, n)
	}
	for kind := range message.Type(255) {
		for _, n := range lengths {
			size, fixed := fixedSizes[kind]
			want := fixed && n == size || kind == message.TypeData && n >= 32
			got, ok := message.Classify(typed(kind, n))
			if ok != want || ok && got != kind {
				t.Errorf("type %d of %d bytes: %d, %t, want %t", kind, n, got, ok, want)
			}
		}
	}
}

// TestReservedBytes drops messages with any bit set in the three bytes after
// the type.
func TestReservedBytes(t *testing.T) {
	for kind, n := range map[message.Type]int{
		message.TypeInitiation:  message.InitiationSize,
		message.TypeResponse:    message.ResponseSize,
		message.TypeCookieReply: message.CookieReplySize,
		message.TypeData:        message.DataMinSize,
	} {
		for bit := 8; bit < 32; bit++ {
			b := typed(kind, n)
			b[bit/8] |= 1 << (bit % 8)
			if got, ok := message.Classify(b); ok {
				t.Errorf("type %d with reserved bit %d is taken for %d", kind, bit, got)
			}
		}
	}
}

func TestInitiation(t *testing.T) {
	b := typed(message.TypeInitiation, message.InitiationSize)
	m, ok := message.ParseInitiation(b)
	if !ok {
		t.Fatal("refused")
	}
	checkFields(t, b, []field{
		{"sender", 4, number(m.Sender)},
		{"ephemeral", 8, m.Ephemeral[:]},
		{"static", 40, m.Static[:]},
		{"timestamp", 88, m.Timestamp[:]},
		{"mac1", 116, m.MAC1[:]},
		{"mac2", 132, m.MAC2[:]},
	})
	checkPut(t, b, m.Put)
}

func TestResponse(t *testing.T) {
	b := typed(message.TypeResponse, message.ResponseSize)
	m, ok := message.ParseResponse(b)
	if !ok {
		t.Fatal("refused")
	}
	checkFields(t, b, []field{
		{"sender", 4, number(m.Sender)},
		{"receiver", 8, number(m.Receiver)},
		{"ephemeral", 12, m.Ephemeral[:]},
		{"empty", 44, m.Empty[:]},
		{"mac1", 60, m.MAC1[:]},
		{"mac2", 76, m.MAC2[:]},
	})
	checkPut(t, b, m.Put)
}

func TestCookieReply(t *testing.T) {
	b := typed(message.TypeCookieReply, message.CookieReplySize)
	m, ok := message.ParseCookieReply(b)
	if !ok {
		t.Fatal("refused")
	}
	checkFields(t, b, []field{
		{"receiver", 4, number(m.Receiver)},
		{"nonce", 8, m.Nonce[:]},
		{"cookie", 32, m.Cookie[:]},
	})
	checkPut(t, b, m.Put)
}

func TestDataHeader(t *testing.T) {
	b := bytes.Repeat([]byte{0xff}, message.DataMinSize)
	message.PutDataHeader(b, 0x0a0b0c0d, 0x1122334455667788)
	want := []byte{4, 0, 0, 0, 0x0d, 0x0c, 0x0b, 0x0a, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11}
	if got := b[:message.DataHeaderSize]; !bytes.Equal(got, want) {
		t.Errorf("header %x, want %x", got, want)
	}
	if !bytes.Equal(b[message.DataHeaderSize:], bytes.Repeat([]byte{0xff}, 16)) {
		t.Error("bytes after the header were written")
	}
	if got := message.DataReceiver(b); got != 0x0a0b0c0d {
		t.Errorf("receiver %#x", got)
	}
	if got := message.DataCounter(b); got != 0x1122334455667788 {
		t.Errorf("counter %#x", got)
	}
}

// field is where the bytes of a parsed field have to come from.
type field struct {
	name   string
	offset int
	got    []byte
}

// number is the form of an index on the wire.
func number(n uint32) []byte {
	return binary.LittleEndian.AppendUint32(nil, n)
}

// checkFields wants the fields to be those bytes of b, in order and without a
// gap from the first word to the end.
func checkFields(t *testing.T, b []byte, fields []field) {
	t.Helper()
	end := 4
	for _, f := range fields {
		if f.offset != end {
			t.Errorf("%s begins at %d, the field before ended at %d", f.name, f.offset, end)
		}
		end = f.offset + len(f.got)
		if want := b[f.offset:end]; !bytes.Equal(f.got, want) {
			t.Errorf("%s is %x, want %x", f.name, f.got, want)
		}
	}
	if end != len(b) {
		t.Errorf("the fields end at %d, the message at %d", end, len(b))
	}
}

// checkPut wants put to write the very bytes of b and none after them.
func checkPut(t *testing.T, b []byte, put func([]byte)) {
	t.Helper()
	got := bytes.Repeat([]byte{0xff}, len(b)+1)
	put(got)
	if !bytes.Equal(got[:len(b)], b) {
		t.Errorf("put %x, want %x", got[:len(b)], b)
	}
	if got[len(b)] != 0xff {
		t.Error("put wrote past the message")
	}
}

// TestParseRefuses gives each parser all lengths but its own, and the other
// types at its own.
func TestParseRefuses(t *testing.T) {
	parsers := map[message.Type]func([]byte) bool{
		message.TypeInitiation:  func(b []byte) bool { _, ok := message.ParseInitiation(b); return ok },
		message.TypeResponse:    func(b []byte) bool { _, ok := message.ParseResponse(b); return ok },
		message.TypeCookieReply: func(b []byte) bool { _, ok := message.ParseCookieReply(b); return ok },
	}
	for kind, parse := range parsers {
		for n := range 201 {
			if parse(typed(kind, n)) != (n == fixedSizes[kind]) {
				t.Errorf("type %d of %d bytes: wrong verdict", kind, n)
			}
		}
		for other := range message.Type(6) {
			if parse(typed(other, fixedSizes[kind])) != (other == kind) {
				t.Errorf("type %d parsed as type %d: wrong verdict", other, kind)
			}
		}
	}
}

func TestNoAllocations(t *testing.T) {
	for kind := range message.Type(6) {
		for _, n := range []int{0, 3, 31, 32, 64, 92, 148, 65507} {
			b := typed(kind, n)
			if allocs := testing.AllocsPerRun(10, func() { touch(b) }); allocs != 0 {
				t.Errorf("type %d of %d bytes: %v allocations", kind, n, allocs)
			}
		}
	}
}

// touch does all that the package can do with b and puts back what it parses.
func touch(b []byte) {
	kind, ok := message.Classify(b)
	if ok && kind == message.TypeData {
		message.PutDataHeader(b, message.DataReceiver(b), message.DataCounter(b))
	}
	if m, ok := message.ParseInitiation(b); ok {
		m.Put(b)
	}
	if m, ok := message.ParseResponse(b); ok {
		m.Put(b)
	}
	if m, ok := message.ParseCookieReply(b); ok {
		m.Put(b)
	}
}

// FuzzMessage parses anything: at most one parser takes it, the one that
// Classify names, and what is put is what was parsed.
func FuzzMessage(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		kind, ok := message.Classify(b)
		if !ok {
			kind = 0
		}
		_, initiation := message.ParseInitiation(b)
		_, response := message.ParseResponse(b)
		_, cookieReply := message.ParseCookieReply(b)
		got := fmt.Sprint(initiation, response, cookieReply)
		want := fmt.Sprint(kind == message.TypeInitiation, kind == message.TypeResponse, kind == message.TypeCookieReply)
		if got != want {
			t.Errorf("type %d parsed as %s", kind, got)
		}
		touch(b)
		if !bytes.Equal(b, before) {
			t.Errorf("type %d: parsed %x, put %x", kind, before, b)
		}
	})
}
