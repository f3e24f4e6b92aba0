//go:build unix

package config

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const (
	nobody  = 65534
	another = 65533

	// leftByRoot is a variable with the folder of files that root has made for
	// the tests that he runs as nobody.
	leftByRoot = "WIMBLE_TEST_LEFT_BY_ROOT"
)

// What is said of files that others may use.
const (
	chmod       = "; chmod 600 it; in a Kubernetes volume, set defaultMode: 0440"
	foreign     = "this file belongs to another user; make root or the user who runs wimble its owner"
	notRegular  = "this is not a regular file; name one, or a link to one"
	notReadable = "permission denied; run as a user who may read it, or make this user its owner"
)

// TestKeyFileAccess is C6 with real files, as the user who runs the tests. If
// that is root, who can give files away, it runs once more as nobody.
func TestKeyFileAccess(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T, path string)
		want string
	}{
		{"0600", keyFile(0o600), ""},
		{"0400", keyFile(0o400), ""},
		{"our group reads", keyFile(0o640), ""},
		{"our group writes", keyFile(0o660), "its group can do more than read this file (mode 0660)" + chmod},
		{"others read", keyFile(0o644), "other users have access to this file (mode 0644)" + chmod},
		{"others write", keyFile(0o602), "other users have access to this file (mode 0602)" + chmod},
		{"link to a good file", link(keyFile(0o600)), ""},
		{"link to a bad file", link(keyFile(0o644)), "other users have access to this file (mode 0644)" + chmod},
		{"link to nothing", link(func(*testing.T, string) {}), "no such file or directory; check the path"},
		{"as Kubernetes mounts it", kubernetes, ""},
		{"directory", func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o700)) }, "this is a directory; name the file in it"},
		{"pipe that nobody writes to", func(t *testing.T, path string) { must(t, syscall.Mkfifo(path, 0o600)) }, notRegular},
		{"device", linkTo("/dev/null"), notRegular},
	}
	if dir := os.Getenv(leftByRoot); dir != "" {
		for _, file := range filesOfRoot {
			tests = append(tests, struct {
				name string
				make func(t *testing.T, path string)
				want string
			}{file.name, linkTo(filepath.Join(dir, file.name)), file.want})
		}
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			test.make(t, filepath.Join(dir, "key"))
			name, text := tunnelWithFile(dir)
			_, _, err := ParseTOML(name, []byte(text))
			got := ""
			if err != nil {
				got = strings.TrimPrefix(err.Error(), name+":2: tunnel 1: private_key_file: \"key\": ")
			}
			if got != test.want {
				t.Errorf("\ngot  %s\nwant %s", got, test.want)
			}
		})
	}
	if os.Geteuid() == 0 {
		runAsNobody(t)
	}
}

// filesOfRoot are the files that only root can make, and what nobody may do
// with them.
var filesOfRoot = []struct {
	name        string
	user, group int
	mode        fs.FileMode
	want        string
}{
	{"root's, our group reads", 0, nobody, 0o440, ""},
	{"root's, others read", 0, 0, 0o444, "other users have access to this file (mode 0444)" + chmod},
	{"root's alone", 0, 0, 0o600, notReadable},
	{"another's, others read", another, another, 0o604, foreign},
	{"another's, our group reads", another, nobody, 0o640, foreign},
	{"ours, another group reads", nobody, another, 0o640, "a group that is not ours can read this file (mode 0640)" + chmod},
	{"ours, another group may not", nobody, another, 0o600, ""},
}

// TestJudge has what the files of TestKeyFileAccess can't have when it is not
// root who makes them.
func TestJudge(t *testing.T) {
	for _, test := range []struct {
		file ownership
		want string
	}{
		{ownership{0o600, 1000, 1000}, ""},
		{ownership{0o600, 0, 0}, ""},
		{ownership{0o640, 0, 27}, ""},
		{ownership{0o440, 1000, 1000}, ""},
		{ownership{0o640, 0, 0}, "a group that is not ours can read this file (mode 0640)"},
		{ownership{0o600, 0, 28}, ""},
		{ownership{0o600, 1001, 1000}, "this file belongs to another user"},
		{ownership{0o610, 1000, 1000}, "its group can do more than read this file (mode 0610)"},
		{ownership{0o601, 1000, 1000}, "other users have access to this file (mode 0601)"},
	} {
		got := ""
		if err := test.file.judge(1000, []int{27, 1000}); err != nil {
			got, _, _ = strings.Cut(err.Error()[len(": "):], ";")
		}
		if got != test.want {
			t.Errorf("%+v: got %q, want %q", test.file, got, test.want)
		}
	}
}

// runAsNobody runs TestKeyFileAccess in a process of another user.
func runAsNobody(t *testing.T) {
	dir, err := os.MkdirTemp("", "config")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	for _, file := range filesOfRoot {
		path := filepath.Join(dir, file.name)
		write(t, path, newKeyring(t).private.Base64(), file.mode)
		must(t, os.Chown(path, file.user, file.group))
	}
	// The folder that the test was built in is open to its owner only.
	self, err := os.Open(os.Args[0])
	must(t, err)
	defer self.Close()
	program, err := os.OpenFile(filepath.Join(dir, "test"), os.O_CREATE|os.O_WRONLY, 0o755)
	must(t, err)
	_, err = io.Copy(program, self)
	must(t, err)
	must(t, program.Close())

	cmd := exec.Command(program.Name(), "-test.run=^TestKeyFileAccess$", "-test.v")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), leftByRoot+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	output, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(output), "--- PASS") < len(filesOfRoot) {
		t.Errorf("as nobody: %v\n%s", err, output)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func keyFile(mode fs.FileMode) func(t *testing.T, path string) {
	return func(t *testing.T, path string) {
		write(t, path, newKeyring(t).private.Base64()+"\n", mode)
		must(t, os.Chown(path, -1, os.Getegid())) // Some systems give it the folder's group.
	}
}

func linkTo(target string) func(t *testing.T, path string) {
	return func(t *testing.T, path string) { must(t, os.Symlink(target, path)) }
}

func link(file func(t *testing.T, path string)) func(t *testing.T, path string) {
	return func(t *testing.T, path string) {
		file(t, path+"-target")
		linkTo(filepath.Base(path)+"-target")(t, path)
	}
}

// kubernetes makes the links by which a volume is replaced at once.
func kubernetes(t *testing.T, path string) {
	dir := filepath.Dir(path)
	must(t, os.Mkdir(filepath.Join(dir, "..2026"), 0o755))
	keyFile(0o440)(t, filepath.Join(dir, "..2026", "key"))
	linkTo("..2026")(t, filepath.Join(dir, "..data"))
	linkTo(filepath.Join("..data", "key"))(t, path)
}

// TestImportedFile: a file that others can read brings its own warning, as when
// it is read alone, and a pipe does not hold up a reload.
func TestImportedFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "wimble.toml")
	text := []byte("[[tunnel]]\nimport = 'wg0.conf'\n")
	conf := filepath.Join(dir, "wg0.conf")
	write(t, conf, newKeyring(t).fill(withLines("", "")), 0o644)
	_, warnings, err := ParseTOML(name, text)
	if want := conf + ": other users have access to this file, which holds a secret key (mode 0644): chmod 600 it"; err != nil || fmt.Sprint(warnings) != "["+want+"]" {
		t.Errorf("got %v, %v", warnings, err)
	}

	must(t, os.Remove(conf))
	must(t, syscall.Mkfifo(conf, 0o600))
	_, _, err = ParseTOML(name, text)
	if want := name + ":2: tunnel 1: import: \"wg0.conf\": " + notRegular; err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

// TestTOMLFileMode: only a file that holds a key itself brings a warning.
func TestTOMLFileMode(t *testing.T) {
	keys := newKeyring(t)
	dir := t.TempDir()
	keyFile(0o600)(t, filepath.Join(dir, "key"))
	path, without := tunnelWithFile(dir)
	for _, test := range []struct {
		text string
		mode fs.FileMode
		want int
	}{
		{without, 0o644, 0},
		{withTOML("", "", ""), 0o640, 0},
		{withTOML("", "", ""), 0o644, 1},
		{strings.Replace(without, "\n", "\npeer = [{public_key = '{{public}}', allowed_ips = ['10.0.0.0/8'], preshared_key = '{{preshared}}'}]\n", 1), 0o644, 1},
	} {
		write(t, path, keys.fill(test.text), test.mode)
		_, warnings, err := Read(path)
		n := 0
		for _, w := range warnings {
			if strings.Contains(w.Text, "other users have access") {
				n++
			}
		}
		if err != nil || n != test.want {
			t.Errorf("mode %04o: %v, %v, want %d about the mode:\n%s", test.mode, warnings, err, test.want, test.text)
		}
	}
}
