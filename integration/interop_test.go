package integration

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// nested is the module that tests against wireguard-go, from the root.
const nested = "integration/interop"

// TestInterop runs the nested module's tests, which `go test ./...` passes by:
// one command tests everything.
func TestInterop(t *testing.T) {
	t.Parallel()
	openSources(t)
	args := []string{"test", "-count=1", "-shuffle=on"}
	if raceEnabled() {
		args = append(args, "-race")
	}
	if testing.Verbose() {
		args = append(args, "-v")
	}
	if deadline, ok := t.Deadline(); ok {
		// Before this test is killed, so that what the nested ones said is seen.
		args = append(args, "-timeout="+(time.Until(deadline)*9/10).String())
	}
	goTest := exec.CommandContext(t.Context(), "go", append(args, "./...")...)
	goTest.Dir = filepath.Join(root, filepath.FromSlash(nested))
	out, err := goTest.CombinedOutput()
	if err != nil {
		t.Fatalf("go %s in %s: %v\n%s", strings.Join(goTest.Args[1:], " "), nested, err, out)
	}
	t.Logf("%s", out)
}

// openSources opens every file of both modules. The go command remembers which
// files a test opened, and runs it again only when one of them has changed; it
// knows nothing of what the go command that the test starts reads.
func openSources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && entry.Name() == ".git" {
			return fs.SkipDir
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		return f.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// raceEnabled reports whether this test was built with -race. The nested one
// then is too; it can't always be, because -race needs a C compiler and the
// project's tests need Go alone.
func raceEnabled() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}
