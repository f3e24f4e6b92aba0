package interop

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain fails when goroutines of ours are left. wireguard-go's own are not
// asked for: it leaves some behind by design.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := ourGoroutines(); left != "" && code == 0 {
		fmt.Fprintf(os.Stderr, "goroutines are left after every Close:\n\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// ourGoroutines describes the goroutines that run code of ours, this one
// excepted. It gives them a while to end.
func ourGoroutines() string {
	var left []string
	for range 200 {
		buf := make([]byte, 16<<20)
		goroutines := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
		left = slices.DeleteFunc(goroutines[1:], func(g string) bool {
			return !strings.Contains(g, "github.com/wimble-proxy/wimble/")
		})
		if len(left) == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return strings.Join(left, "\n\n")
}

// skip skips a test for which the machine lacks something, with a sentence
// that names it. In CI nothing is skipped.
func skip(t *testing.T, sentence string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(sentence)
	}
	t.Skip(sentence)
}
