package interop

import (
	"encoding/binary"
	"errors"
	"net"
	"time"
)

// A download over UDP that outlives any loss: the client asks for numbered
// chunks until it has all of them. TCP is too patient for that where a third of
// the datagrams is lost both ways: half of what it repeats is lost again, and
// each time it waits twice as long.

const (
	chunkSize = 1300 // bytes, and a number before them
	askAtOnce = 16   // chunks, this often:
	askEvery  = 4 * time.Millisecond
	// answerWait is longer than the round trip of any path in these tests.
	answerWait = 200 * time.Millisecond
)

// serveChunks answers until its socket is closed.
func serveChunks(c net.PacketConn, text []byte) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		for asked := buf[:n]; len(asked) >= 4; asked = asked[4:] {
			start := int(binary.BigEndian.Uint32(asked)) * chunkSize
			reply := append(asked[:4:4], text[start:min(start+chunkSize, len(text))]...)
			if _, err := c.WriteTo(reply, from); err != nil {
				return
			}
		}
	}
}

// fetch is a download at work.
type fetch struct {
	conn    net.Conn
	text    []byte
	missing map[uint32]bool
}

// fetchChunks downloads a text of size bytes.
func fetchChunks(c net.Conn, size int) ([]byte, error) {
	f := fetch{conn: c, text: make([]byte, size), missing: map[uint32]bool{}}
	for i := range (size + chunkSize - 1) / chunkSize {
		f.missing[uint32(i)] = true
	}
	for end := time.Now().Add(patience); len(f.missing) > 0; {
		if time.Now().After(end) {
			return nil, errors.New("it takes too long")
		}
		if err := f.round(); err != nil {
			return nil, err
		}
	}
	return f.text, nil
}

// round asks once for all that is missing.
func (f *fetch) round() error {
	var ask []byte
	for i := range f.missing {
		ask = binary.BigEndian.AppendUint32(ask, i)
		if len(ask) < 4*askAtOnce {
			continue
		}
		if err := f.ask(ask, askEvery); err != nil {
			return err
		}
		ask = ask[:0]
	}
	return f.ask(ask, answerWait)
}

// ask asks for chunks and takes what comes for a while.
func (f *fetch) ask(chunks []byte, wait time.Duration) error {
	if _, err := f.conn.Write(chunks); err != nil {
		return err
	}
	if err := f.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	buf := make([]byte, 1<<16)
	for len(f.missing) > 0 {
		n, err := f.conn.Read(buf)
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
			return nil
		}
		if err != nil {
			return err
		}
		number := binary.BigEndian.Uint32(buf)
		copy(f.text[int(number)*chunkSize:], buf[4:n])
		delete(f.missing, number)
	}
	return nil
}
