package handshake

import (
	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// Initiator is a handshake that we began and that waits for the response. It is
// not safe for concurrent use; a copy is a handshake of its own.
type Initiator struct {
	state     state
	ephemeral key.Private
}

// Initiate begins a handshake of id with r (whitepaper, section 5.4.2). sender
// is the index by which the response and the session's data shall find us, ts
// is greater than every one sent to r before, and ephemeral is fresh. The MACs
// of the message are zero; [Signer.Sign] makes them. It does one X25519, and
// fails with [key.ErrLowOrder] or when id has no private key.
func Initiate(id *Identity, r *Remote, sender uint32, ts Timestamp, ephemeral key.Private) (*Initiator, message.Initiation, error) {
	i := &Initiator{state: begin(r.public), ephemeral: ephemeral}
	m := message.Initiation{Sender: sender, Ephemeral: ephemeral.Public().Bytes()}
	if err := i.state.writeInitiation(&m, id, r, ts, ephemeral); err != nil {
		i.Wipe()
		return nil, message.Initiation{}, err
	}
	return i, m, nil
}

func (s *state) writeInitiation(m *message.Initiation, id *Identity, r *Remote, ts Timestamp, ephemeral key.Private) error {
	s.mixEphemeral(&m.Ephemeral)

	k, err := s.mixDH(ephemeral, r.public)
	if err != nil {
		return err
	}
	static := id.public.Bytes()
	s.seal(&k, m.Static[:0], static[:])

	k, err = s.mixStatic(r)
	if err != nil {
		return err
	}
	s.seal(&k, m.Timestamp[:0], ts[:])
	return nil
}

// Finish ends the handshake with the peer's response (whitepaper, section
// 5.4.3); id is the one that began it. It does two X25519. When it fails, i is
// as it was and may meet the next response: anyone who has seen the initiation
// can forge one that fails. When it succeeds, i is spent.
func (i *Initiator) Finish(id *Identity, psk *key.Preshared, m *message.Response) (Keys, error) {
	s := i.state
	defer s.wipe()
	if err := s.readResponse(m, i.ephemeral, id.private, psk); err != nil {
		return Keys{}, err
	}
	i.Wipe()

	var keys Keys
	keys.Send, keys.Receive = s.split()
	return keys, nil
}

func (s *state) readResponse(m *message.Response, ephemeral, static key.Private, psk *key.Preshared) error {
	s.mixEphemeral(&m.Ephemeral)
	remote := key.PublicFrom(m.Ephemeral)
	if _, err := s.mixDH(ephemeral, remote); err != nil {
		return err
	}
	if _, err := s.mixDH(static, remote); err != nil {
		return err
	}
	k := s.mixPreshared(psk)
	return s.open(&k, nil, m.Empty[:])
}

// Wipe gives the handshake up.
func (i *Initiator) Wipe() {
	i.state.wipe()
	i.ephemeral.Wipe()
}
