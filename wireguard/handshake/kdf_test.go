package handshake

import (
	"bytes"
	"crypto/hkdf"
	"encoding/hex"
	"hash"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/crypto/blake2s"
)

// TestKDF has the vectors of wireguard-go's kdf_test.go. A salt shorter than a
// key counts as one that ends in zeros (RFC 2104, section 2).
func TestKDF(t *testing.T) {
	tests := []struct {
		salt, input string
		want        [3]string // Whole, or its beginning and its end.
	}{
		{"test-key", "test-input", [3]string{
			"6f0e5ad38daba1bea8a0d213688736f19763239305e0f58aba697f9ffc41c633",
			"df1194df20802a4fe594cde27e92991c8cae66c366e8106aaa937a55fa371e8a",
			"fac6e2745a325f5dc5d11a5b165aad08b0ada28e7b4e666b7c077934a4d76c24",
		}},
		{"wireguard", "wireguard", [3]string{"491d43bb a96e8", "1e71a379 e3d25f", "31e1ae48 f0160"}},
		{"", "", [3]string{"8387b46b ed5d0", "58a0e5f6 fe0e86e", "0ce6ea98 f7338e"}},
	}
	for _, tt := range tests {
		var chain [32]byte
		copy(chain[:], tt.salt)
		for n := 1; n <= 3; n++ {
			var got [3][32]byte
			kdf(&chain, []byte(tt.input), []*[32]byte{&got[0], &got[1], &got[2]}[:n]...)
			for i, k := range got[:n] {
				text := hex.EncodeToString(k[:])
				begin, end, _ := strings.Cut(tt.want[i], " ")
				if !strings.HasPrefix(text, begin) || !strings.HasSuffix(text, end) {
					t.Errorf("KDF%d(%q, %q): key %d is %s, want %s", n, tt.salt, tt.input, i+1, text, tt.want[i])
				}
			}
		}
	}
}

// TestKDFIsHKDF compares with the library's HKDF, for inputs of all lengths up
// to more than two blocks.
func TestKDFIsHKDF(t *testing.T) {
	const seed = 1
	random := rand.NewChaCha8([32]byte{seed})
	newHash := func() hash.Hash {
		h, err := blake2s.New256(nil)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	for n := range 150 {
		var chain [32]byte
		input := make([]byte, n)
		random.Read(chain[:])
		random.Read(input)
		want, err := hkdf.Key(newHash, input, chain[:], "", 96)
		if err != nil {
			t.Fatal(err)
		}
		var second, third [32]byte
		kdf(&chain, input, &chain, &second, &third) // In place, as the handshake does.
		if got := bytes.Join([][]byte{chain[:], second[:], third[:]}, nil); !bytes.Equal(got, want) {
			t.Fatalf("seed %d, input of %d bytes: %x, want %x", seed, n, got, want)
		}
	}
}

// TestKDFAllocatesNothing keeps secrets off the heap, where they could not be
// wiped.
func TestKDFAllocatesNothing(t *testing.T) {
	var chain, second, third [32]byte
	if n := testing.AllocsPerRun(10, func() { kdf(&chain, second[:], &chain, &second, &third) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
