package kernel

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// shell runs commands in the guest over a serial port.
type shell struct {
	conn *os.File
	mu   sync.Mutex    // one command at a time
	read *bufio.Reader // guarded by mu
	runs int           // guarded by mu
}

func newShell(conn *os.File) *shell {
	return &shell{conn: conn, read: bufio.NewReader(conn)}
}

// ready waits until the guest listens.
func (s *shell) ready(limit time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	_, err := s.until("ready")
	return err
}

// run runs a command and returns what it prints, errors included. A command
// that leaves something running in the background must send its output
// elsewhere.
func (s *shell) run(command string, limit time.Duration) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return "", err
	}
	// The mark differs each time, so that the end of a command that was given
	// up is not taken for that of the next.
	s.runs++
	mark := fmt.Sprintf("--- end of command %d: ", s.runs)
	_, err := fmt.Fprintf(s.conn, "sh -c %s </dev/null >&3 2>&1; printf '\\n%%s%%d\\n' '%s' $? >&3\n", quote(command), mark)
	if err != nil {
		return "", err
	}
	out, err := s.until(mark)
	if err != nil {
		return "", err
	}
	text, status := out[:len(out)-1], out[len(out)-1]
	printed := strings.TrimSuffix(strings.Join(text, ""), "\n")
	if code := strings.TrimSpace(strings.TrimPrefix(status, mark)); code != "0" {
		return printed, fmt.Errorf("exit code %s: %s", code, strings.TrimSpace(printed))
	}
	return printed, nil
}

// until reads lines to the first that starts with prefix, and returns all.
func (s *shell) until(prefix string) ([]string, error) {
	var lines []string
	for {
		line, err := s.read.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("the guest does not answer: %w", err)
		}
		lines = append(lines, line)
		if strings.HasPrefix(line, prefix) {
			return lines, nil
		}
	}
}

// quote makes one word of a text for a shell.
func quote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
