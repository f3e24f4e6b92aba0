package handshake

import (
	"crypto/subtle"
	"time"

	"golang.org/x/crypto/blake2s"

	"github.com/wimble-proxy/wimble/wireguard/message"
)

// cookieUse is for how long an initiator puts a cookie into its messages: the
// life of the responder's secret less the 5 s that a message may take, as the
// kernel does.
const cookieUse = cookieLife - 5*time.Second

// CheckMAC1 reports in constant time whether msg, a whole initiation or
// response, was made by someone who knows our public key. It does no X25519 and
// comes before everything else that is done with msg.
func (id *Identity) CheckMAC1(msg []byte) bool {
	end := len(msg) - 2*message.MACSize
	if end < 0 {
		return false
	}
	want := mac(id.labels.mac1[:], msg[:end])
	return subtle.ConstantTimeCompare(want[:], msg[end:end+message.MACSize]) == 1
}

// Signer makes the MACs of the messages to one peer (whitepaper, section
// 5.4.4), and keeps the cookie that the peer has sent. The zero value is ready.
type Signer struct {
	mac1     [message.MACSize]byte // Of the last message signed.
	awaiting bool                  // No reply to that message was accepted yet.

	cookie    [message.MACSize]byte
	gotCookie time.Duration // When it came.
	hasCookie bool
}

// Sign writes mac1 and mac2 into the end of msg, an initiation or a response to
// r. mac2 is zero without a cookie younger than 115 s.
func (s *Signer) Sign(now time.Duration, r *Remote, msg []byte) {
	mac1, mac2 := len(msg)-2*message.MACSize, len(msg)-message.MACSize

	s.mac1 = mac(r.labels.mac1[:], msg[:mac1])
	s.awaiting = true
	copy(msg[mac1:mac2], s.mac1[:])

	clear(msg[mac2:])
	if s.hasCookie && now-s.gotCookie >= cookieUse {
		clear(s.cookie[:])
		s.hasCookie = false
	}
	if s.hasCookie {
		sum := mac(s.cookie[:], msg[:mac2])
		copy(msg[mac2:], sum[:])
	}
}

// Accept takes in the cookie of r's reply, for the messages signed from now on
// (whitepaper, section 5.4.7). It is false for what is not the first authentic
// reply to the message signed last.
func (s *Signer) Accept(now time.Duration, r *Remote, m *message.CookieReply) bool {
	if !s.awaiting {
		return false
	}
	var cookie [message.MACSize]byte
	if _, err := newXAEAD(&r.labels.cookie).Open(cookie[:0], m.Nonce[:], m.Cookie[:], s.mac1[:]); err != nil {
		return false
	}
	s.awaiting = false
	s.cookie, s.gotCookie, s.hasCookie = cookie, now, true
	return true
}

// mac is the whitepaper's Mac(key, data): keyed BLAKE2s of 16 bytes. k has 16
// or 32 bytes.
func mac(k, data []byte) (sum [message.MACSize]byte) {
	h, err := blake2s.New128(k)
	if err != nil {
		panic("handshake: " + err.Error())
	}
	h.Write(data)
	h.Sum(sum[:0])
	return sum
}
