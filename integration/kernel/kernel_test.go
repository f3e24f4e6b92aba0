package kernel

import (
	"flag"
	"fmt"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets more tests run at once than there are processors: they wait
// for timers and for the machine.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// echoPort is where the guest sends back what it gets by TCP.
const echoPort = 7

// TestKernel has our engine talk to the kernel's, about many things at once on
// one machine: most of them wait most of the time.
func TestKernel(t *testing.T) {
	m := Boot(t)
	t.Logf("the guest runs Linux %s", m.Release)
	if _, err := m.Exec(fmt.Sprintf("nc -ll -p %d -e cat >/dev/null 2>&1 &", echoPort)); err != nil {
		t.Fatal(err)
	}
	l := &lab{machine: m}
	for _, test := range []struct {
		name string
		run  func(*testing.T, *lab)
	}{
		{"handshake", testHandshake},
		{"ten pings", testTenPings},
		{"transfer", testTransfer},
		{"port change", testPortChange},
		{"restart", testRestart},
		{"rekey", testRekey},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, l)
		})
	}
}
