package engine

import "github.com/wimble-proxy/wimble/wireguard/message"

// Admit decides about an initiation, response or cookie reply before anything
// costly is done for it. It reports true for what Handshake is to be called
// with. What it refuses it counts. It takes no lock.
func (e *Engine) Admit(msg []byte) bool {
	kind, ok := message.Classify(msg)
	if !ok || kind == message.TypeData {
		e.Drop(DropClassify)
		return false
	}
	if kind == message.TypeCookieReply {
		return true // its AEAD is the check, and costs no Diffie-Hellman
	}
	id := e.identity.Load()
	if id == nil || !id.CheckMAC1(msg) {
		e.Drop(DropMAC1)
		return false
	}
	return true
}
