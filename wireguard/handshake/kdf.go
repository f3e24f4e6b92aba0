package handshake

import "golang.org/x/crypto/blake2s"

// kdf is KDF_n of the whitepaper, section 5.4, for the n keys of out: the HKDF
// of RFC 5869 over BLAKE2s, with chain as salt, input as keying material and no
// info. A key of out may be chain itself.
func kdf(chain *[32]byte, input []byte, out ...*[32]byte) {
	secret := hmac(chain, input)
	var block [blake2s.Size + 1]byte // The key before this one, and this one's number.
	n := 0
	for i, k := range out {
		block[n] = byte(i + 1)
		*k = hmac(&secret, block[:n+1])
		n = copy(block[:], k[:])
	}
	clear(secret[:])
	clear(block[:])
}

// hmac is HMAC-BLAKE2s (RFC 2104). It stands in for crypto/hmac, because that
// leaves copies of the key behind on the heap.
func hmac(k *[32]byte, data []byte) [blake2s.Size]byte {
	const inner, outer = 0x36, 0x5c

	block := make([]byte, blake2s.BlockSize, 2*blake2s.BlockSize)
	copy(block, k[:])
	for i := range block {
		block[i] ^= inner
	}
	message := append(block, data...)
	sum := blake2s.Sum256(message)
	clear(message[blake2s.BlockSize:])

	for i := range block {
		block[i] ^= inner ^ outer
	}
	message = append(block, sum[:]...)
	sum = blake2s.Sum256(message)
	clear(message)
	return sum
}
