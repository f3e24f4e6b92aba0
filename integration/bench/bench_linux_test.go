package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// TestMain makes the test the programs that the bench starts from its own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "role" {
		main()
		return
	}
	goleak.VerifyTestMain(m) // each process that was started has a goroutine until it has ended
}

// TestSmallestRows runs the bench as its user does, with slices too short to say anything about speed.
func TestSmallestRows(t *testing.T) {
	temporary, out, profiles := t.TempDir(), filepath.Join(t.TempDir(), "bench.json"), t.TempDir()
	t.Setenv("TMPDIR", temporary)
	var stdout, stderr bytes.Buffer
	err := run(t.Context(), []string{
		"-slices=1", "-time=100ms", "-quick", "-json", out, "-profile", profiles,
		"-run=^(upload, 1 stream, far end ours|download, 1 stream, far end|small request|new connection)",
	}, nil, &stdout, &stderr)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, &stdout, &stderr)
	}
	t.Logf("%s%s", &stdout, &stderr)

	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	figures := map[string]bool{}
	for _, line := range r.Rows {
		at := line.Row + ": " + line.Figure
		figures[at] = true
		for _, c := range []client{ours, netTun} {
			if values := line.Clients[c].Slices; len(values) != 1 || values[0] <= 0 && line.Figure != "failed" {
				t.Errorf("%s: the values of %s are %v, want one above zero", at, c, values)
			}
		}
		for _, g := range line.Goals {
			if g.Limit == 0 || g.Value <= 0 || !strings.Contains(stdout.String(), fmt.Sprint(g)) {
				t.Errorf("%s: the goal is %+v, want one that is printed", at, g)
			}
		}
	}
	for _, at := range []string{"download, 1 stream, far end ours: CPU", "upload, 1 stream, far end ours: throughput"} {
		if !figures[at] {
			t.Errorf("nothing is said of %q", at)
		}
	}
	const root = "small request, far end kernelTun"
	if figures[root+": request p50"] == (r.LeftOut[root] != "") {
		t.Errorf("%q must be measured or left out with a reason, which is %q", root, r.LeftOut[root])
	}
	for _, ending := range []string{".cpu", ".heap"} {
		if info, err := os.Stat(fileOf(profiles, "upload, 1 stream, far end ours") + ending); err != nil || info.Size() == 0 {
			t.Errorf("the profile %s: %v", ending, err)
		}
	}
	nothingLeft(t, temporary)
}

// TestInterrupt ends the bench as Ctrl-C does, in the middle of a row.
func TestInterrupt(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	ctx, cancel := context.WithCancel(t.Context())
	var stderr bytes.Buffer
	// The first row is printed; the second is at work.
	err := run(ctx, []string{"-slices=1", "-time=100ms", "-quick", "-run=load, 1 stream, far end (ours|netTun)"}, nil, cancelling{cancel}, &stderr)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the bench ends with %v, want %v\n%s", err, context.Canceled, &stderr)
	}
	nothingLeft(t, temporary)
}

// cancelling is a writer that calls a function.
type cancelling struct{ cancel func() }

func (c cancelling) Write(b []byte) (int, error) {
	c.cancel()
	return len(b), nil
}

// nothingLeft checks that the bench removed what it made.
func nothingLeft(t *testing.T, temporary string) {
	t.Helper()
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("the temporary folder holds %v (%v), want nothing", left, err)
	}
	left, err := filepath.Glob(fmt.Sprintf("/run/netns/wimble-bench-%d-*", os.Getpid()))
	if err != nil || len(left) > 0 {
		t.Errorf("network namespaces are left: %v (%v)", left, err)
	}
}
