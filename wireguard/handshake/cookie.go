package handshake

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/wimble-proxy/wimble/wireguard/message"
)

// cookieLife is for how long a responder's secret makes and honours cookies.
const cookieLife = 120 * time.Second

// Cookies is a responder's side of the cookie mechanism (whitepaper, sections
// 5.3 and 5.4.7): under load it proves that the sender of a message receives at
// the address that it sends from. The zero value is ready.
type Cookies struct {
	secret    [32]byte
	born      time.Duration // When secret was made.
	hasSecret bool
}

// CheckMAC2 reports in constant time whether msg, a whole initiation or
// response with a valid mac1, carries a mac2 made with a cookie that was given
// to from within the life of the secret, which is 120 s.
func (c *Cookies) CheckMAC2(now time.Duration, from netip.AddrPort, msg []byte) bool {
	end := len(msg) - message.MACSize
	if end < 0 || !c.alive(now) {
		return false
	}
	cookie := c.cookie(from)
	want := mac(cookie[:], msg[:end])
	return subtle.ConstantTimeCompare(want[:], msg[end:]) == 1
}

// Reply is the answer to msg, a whole initiation or response with a valid mac1
// that came from from: a cookie, sealed so that only those who saw msg and know
// our public key can open it. It fails only when rand does.
func (c *Cookies) Reply(now time.Duration, id *Identity, from netip.AddrPort, msg []byte, rand io.Reader) (message.CookieReply, error) {
	if !c.alive(now) {
		if _, err := io.ReadFull(rand, c.secret[:]); err != nil {
			return message.CookieReply{}, fmt.Errorf("random bytes for a cookie secret: %w", err)
		}
		c.born, c.hasSecret = now, true
	}
	m := message.CookieReply{Receiver: binary.LittleEndian.Uint32(msg[4:8])}
	if _, err := io.ReadFull(rand, m.Nonce[:]); err != nil {
		return message.CookieReply{}, fmt.Errorf("random bytes for a nonce: %w", err)
	}
	cookie := c.cookie(from)
	mac1 := msg[len(msg)-2*message.MACSize : len(msg)-message.MACSize]
	newXAEAD(&id.labels.cookie).Seal(m.Cookie[:0], m.Nonce[:], cookie[:], mac1)
	return m, nil
}

// alive reports whether the secret is there and young enough.
func (c *Cookies) alive(now time.Duration) bool {
	return c.hasSecret && now-c.born < cookieLife
}

// cookie is Mac(secret, address || port): the port too, or all hosts behind one
// NAT would share a cookie.
func (c *Cookies) cookie(from netip.AddrPort) [message.MACSize]byte {
	source := from.Addr().Unmap().AsSlice()
	return mac(c.secret[:], binary.BigEndian.AppendUint16(source, from.Port()))
}

func newXAEAD(k *[32]byte) cipher.AEAD {
	return usable(chacha20poly1305.NewX(k[:]))
}
