package handshake

import (
	"github.com/wimble-proxy/wimble/wireguard/key"
	"github.com/wimble-proxy/wimble/wireguard/message"
)

// Responder is a handshake that another began. Its steps are [Receive], a look
// for the peer by Static, Authenticate, the caller's rules on timestamps, and
// Respond. It is not safe for concurrent use.
type Responder struct {
	state         state
	initiation    message.Initiation
	static        key.Public
	authenticated bool
}

// Receive opens the static key of an initiation (whitepaper, section 5.4.2).
// Who sent it is not proven yet: anyone who knows our public key and the
// peer's can come this far. It does one X25519, and fails with
// [ErrAuthentication], [key.ErrLowOrder] or when id has no private key.
func Receive(id *Identity, m *message.Initiation) (*Responder, error) {
	r := &Responder{state: begin(id.public), initiation: *m}
	s := &r.state
	s.mixEphemeral(&m.Ephemeral)
	k, err := s.mixDH(id.private, key.PublicFrom(m.Ephemeral))
	if err != nil {
		return nil, err
	}
	var static [32]byte
	if err := s.open(&k, static[:0], m.Static[:]); err != nil {
		return nil, err
	}
	r.static = key.PublicFrom(static)
	return r, nil
}

// Static is the public key that the sender claims to hold.
func (r *Responder) Static() key.Public {
	return r.static
}

// Authenticate opens the timestamp, which proves that the sender holds the
// private key of remote, whose key is Static. It does no X25519, and fails with
// [ErrAuthentication] or [key.ErrLowOrder], leaving r as it was.
//
// The message may be an old one sent again: the caller shall refuse a timestamp
// that is not after all earlier ones.
func (r *Responder) Authenticate(remote *Remote) (Timestamp, error) {
	if r.authenticated || remote.public != r.static {
		return Timestamp{}, errOrder
	}
	s := r.state
	defer s.wipe()
	k, err := s.mixStatic(remote)
	if err != nil {
		return Timestamp{}, err
	}
	var ts Timestamp
	if err := s.open(&k, ts[:0], r.initiation.Timestamp[:]); err != nil {
		return Timestamp{}, err
	}
	r.state, r.authenticated = s, true
	return ts, nil
}

// Respond answers an initiation that was authenticated for remote (whitepaper,
// section 5.4.3) and gives the keys of the session, which the initiator must
// use first. sender is the index by which its data shall find us, and ephemeral
// is fresh. The MACs of the message are zero; [Signer.Sign] makes them. It does
// two X25519. When it succeeds, r is spent.
func (r *Responder) Respond(remote *Remote, psk *key.Preshared, sender uint32, ephemeral key.Private) (message.Response, Keys, error) {
	if !r.authenticated || remote.public != r.static {
		return message.Response{}, Keys{}, errOrder
	}
	m := message.Response{
		Sender:    sender,
		Receiver:  r.initiation.Sender,
		Ephemeral: ephemeral.Public().Bytes(),
	}
	s := r.state
	defer s.wipe()
	if err := s.writeResponse(&m, ephemeral, key.PublicFrom(r.initiation.Ephemeral), r.static, psk); err != nil {
		return message.Response{}, Keys{}, err
	}
	r.Wipe()

	var keys Keys
	keys.Receive, keys.Send = s.split()
	return m, keys, nil
}

func (s *state) writeResponse(m *message.Response, ephemeral key.Private, remoteEphemeral, remoteStatic key.Public, psk *key.Preshared) error {
	s.mixEphemeral(&m.Ephemeral)
	if _, err := s.mixDH(ephemeral, remoteEphemeral); err != nil {
		return err
	}
	if _, err := s.mixDH(ephemeral, remoteStatic); err != nil {
		return err
	}
	k := s.mixPreshared(psk)
	s.seal(&k, m.Empty[:0], nil)
	return nil
}

// Wipe gives the handshake up.
func (r *Responder) Wipe() {
	*r = Responder{}
}
