package proxy

import (
	"bufio"
	"bytes"
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"time"

	"github.com/wimble-proxy/wimble/forward"
)

// lingerTimeout is how long a refused client's data is read and dropped, so that the refusal reaches it.
const lingerTimeout = 5 * time.Second

// watchDelay is how long a dial goes unwatched: most are over before, and save a goroutine and its wake-ups.
const watchDelay = 200 * time.Millisecond

// client is an accepted connection, and what was read ahead from it. One goroutine has it at a time.
type client struct {
	net.Conn
	leash  leash         // what the reader reads through
	reader *bufio.Reader // the only way to read until the relay begins; nil from then on

	serving context.Context // when it ends, there is no further request to be taken
	target  string          // for the log, once it is known
	begun   time.Time       // when the relay did, for the log
	asked   bool            // all that it has to say for an answer was read, so it may end its stream and wait

	// The gate's mutex guards these.
	place    *list.Element // nil unless in the handshake
	admitted bool
}

// newClient takes a reader from the pool, which release gives back.
func (s *Server) newClient(serving context.Context, conn net.Conn) *client {
	c := &client{Conn: conn, leash: leash{conn: conn}, serving: serving}
	c.reader, _ = s.readers.Get().(*bufio.Reader)
	if c.reader == nil {
		c.reader = bufio.NewReader(nil)
	}
	c.reader.Reset(&c.leash)
	return c
}

// release gives up the reader of c. Nobody may read by it any more.
func (s *Server) release(c *client) {
	c.reader.Reset(nil)
	s.readers.Put(c.reader)
	c.reader = nil
}

// takeEarly returns what was read ahead, and lets go of the reader, which would stay for as long as the relay.
func (s *Server) takeEarly(c *client) []byte {
	early, _ := c.reader.Peek(c.reader.Buffered()) // can't fail: it is there
	early = bytes.Clone(early)
	s.release(c)
	return early
}

// watch calls gone if the client leaves, from watchDelay on. It reads ahead for that, until stop is called; that returns
// when nobody reads any more and no read deadline is set, and passes on a panic of the connection.
//
// A client that closes and one that only ends its stream look the same. One that has said nothing yet has nothing to
// wait for: it left. One that has asked, or whose early data has been read, gets its answer; nor can it be watched when
// that data fills the reader. The dial's deadline is left for these.
func (c *client) watch(gone func()) (stop func()) {
	return c.aside(watchDelay, gone, func() {
		err := c.ended()
		if err == io.EOF && (c.asked || c.reader.Buffered() > 0) {
			return
		}
		if err != nil {
			gone()
		}
	})
}

// aside calls read after a delay, in a goroutine of its own, which has the client's reader until stop was called and has
// returned. Stop makes reads fail, or sees to it that read is not called; when it returns no read deadline is set. A panic
// of read is passed on by stop, and makes failed be called before that.
func (c *client) aside(delay time.Duration, failed, read func()) (stop func()) {
	done := make(chan struct{})
	var panicked error
	start := time.AfterFunc(delay, func() {
		defer close(done)
		defer func() {
			if v := recover(); v != nil {
				panicked = fmt.Errorf("%v\n\n%s", v, debug.Stack())
				failed()
			}
		}()
		c.leash.limit(0) // has no effect after stop
		read()
	})
	return func() {
		if !start.Stop() {
			c.leash.stop()
			<-done
		}
		c.leash.free()
		if panicked != nil {
			panic(panicked)
		}
	}
}

// ended reads ahead until the client's stream ends, and returns io.EOF or what broke it off. It returns nil if the leash
// or a full reader ended that before.
func (c *client) ended() error {
	for {
		_, err := c.reader.Peek(c.reader.Buffered() + 1)
		switch {
		case err == nil:
			continue
		case errors.Is(err, bufio.ErrBufferFull), isTimeout(err):
			return nil
		}
		return err
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// linger ends the stream to the client, then reads and drops what the client still sends. A connection that is closed
// with data unread is reset, and the last reply may be lost by that.
func (c *client) linger() {
	if forward.CloseWrite(c.Conn) != nil {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(lingerTimeout))
	_, _ = io.Copy(io.Discard, c.reader)
}
