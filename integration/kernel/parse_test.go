package kernel

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseDump(t *testing.T) {
	for _, test := range []struct {
		name, line string
		want       Dump
		problem    string // part of the error
	}{
		{
			"session", "igCi=\t10.0.2.2:40123\t10.64.0.2/32,fd64::2/128\t1764104326\t1428\t1372\t25\n",
			Dump{netip.MustParseAddrPort("10.0.2.2:40123"), time.Unix(1764104326, 0), 1428, 1372},
			"",
		},
		{"never heard", "igCi=\t(none)\t(none)\t0\t0\t0\toff\n", Dump{}, ""},
		{"nothing", "", Dump{}, "1 columns"},
		{"the preshared key left in", "igCi=\t(none)\t(none)\t(none)\t0\t0\t0\toff\n", Dump{}, "8 columns"},
		{"endpoint", "igCi=\t10.0.2.2\t(none)\t0\t0\t0\toff\n", Dump{}, "endpoint"},
		{"handshake", "igCi=\t(none)\t(none)\tnow\t0\t0\toff\n", Dump{}, "handshake"},
		{"received", "igCi=\t(none)\t(none)\t0\t-1\t0\toff\n", Dump{}, "received"},
		{"sent", "igCi=\t(none)\t(none)\t0\t0\t1.5\toff\n", Dump{}, "sent"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseDump(test.line)
			if test.problem == "" && err != nil || test.problem != "" && (err == nil || !strings.Contains(err.Error(), test.problem)) {
				t.Errorf("error is %v, want one about %q", err, test.problem)
			}
			if test.problem == "" && got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestParseForward(t *testing.T) {
	const table = `Hub -1 (net0):
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
  UDP[236 sec]       14       10.0.2.15 51822        10.0.2.2 40123     0     0
  UDP[HOST_FORWARD]  12       127.0.0.1 40620       10.0.2.15 51821     0     0
  UDP[HOST_FORWARD]  11       127.0.0.1 40619       10.0.2.15 51820     0     0
`
	if port, err := parseForward(table, 51820); err != nil || port != 40619 {
		t.Errorf("got port %d, %v; want 40619", port, err)
	}
	if port, err := parseForward(table, 51822); err == nil {
		t.Errorf("got port %d for a guest's port without one", port)
	}
}

func TestParseURIs(t *testing.T) {
	got := parseURIs(`'http://x/b/busybox-static_1.35.0-4%2bb1_amd64.deb' busybox-static_1%3a1.35.0-4+b1_amd64.deb 928188 SHA256:3d3f
'http://x/g/libc6_2.36-9_amd64.deb' libc6_2.36-9_amd64.deb 2759320 SHA256:ba4f
`)
	want := map[string]string{"busybox-static": "busybox-static_1%3a1.35.0-4+b1_amd64.deb", "libc6": "libc6_2.36-9_amd64.deb"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseDepends(t *testing.T) {
	for info, want := range map[string][]string{
		"license=GPL\x00depends=udp_tunnel,libchacha\x00name=wireguard\x00": {"udp_tunnel", "libchacha"},
		"depends=\x00name=virtio\x00":                                       nil,
		"softdepends=a\x00":                                                 nil,
		"":                                                                  nil,
	} {
		if diff := cmp.Diff(want, parseDepends([]byte(info))); diff != "" {
			t.Errorf("%q: %s", info, diff)
		}
	}
}

func TestQuote(t *testing.T) {
	if got := quote(`echo 'a b'`); got != `'echo '\''a b'\'''` {
		t.Errorf("got %s", got)
	}
}
