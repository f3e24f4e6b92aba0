package proxy

import (
	"bufio"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
)

const (
	// bodyBuffer is how much of a body is carried at a time.
	bodyBuffer = 16 << 10
	// maxChunkLine limits the line before a chunk, with its extensions, which are ignored.
	maxChunkLine = 256
)

// body reads the body of a message, and not a byte of what follows it.
type body struct {
	r        *bufio.Reader
	framing  framing
	left     int64  // of the length or of this chunk
	begun    bool   // a chunk has
	trailers fields // known when Read has returned io.EOF

	ended atomic.Bool // nothing of the body is left to be read; for others than the reader too
}

func newBody(r *bufio.Reader, f framing) *body {
	b := &body{r: r, framing: f, left: max(f.length, 0)}
	b.ended.Store(f.delimiter == noBody || f.length == 0)
	return b
}

// Read returns io.EOF only at the end that the framing says, and io.ErrUnexpectedEOF if the stream ends before.
func (b *body) Read(p []byte) (int, error) {
	if b.ended.Load() {
		return 0, io.EOF
	}
	if b.framing.delimiter == untilClose {
		return b.r.Read(p)
	}
	if b.left == 0 {
		if err := b.nextChunk(); err != nil {
			return 0, err
		}
	}
	return b.readLeft(p)
}

// readLeft reads from what is left, which is not nothing.
func (b *body) readLeft(p []byte) (int, error) {
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if b.left == 0 && b.framing.delimiter == byLength {
		b.ended.Store(true)
	}
	return n, noEOF(err)
}

// nextChunk ends the chunk before and begins one. The error is io.EOF after the last.
func (b *body) nextChunk() error {
	if b.begun {
		if _, err := readLine(b.r, len("\r\n")); err != nil {
			return chunkError(err, "chunk that is longer than its size")
		}
	}
	b.begun = true
	line, err := readLine(b.r, maxChunkLine)
	if err != nil {
		return chunkError(err, "chunk size that is too long")
	}
	if b.left, err = parseChunkLine(line); err != nil || b.left > 0 {
		return err
	}
	if b.trailers, err = readFields(b.r); err != nil {
		return err
	}
	b.ended.Store(true)
	return io.EOF
}

// chunkError is the error of reading a line that has to be there.
func chunkError(err error, tooLong malformed) error {
	if err == errTooLong {
		return tooLong
	}
	return noEOF(err)
}

// noEOF makes the end of the stream an error.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// parseChunkLine returns the size of the chunk that follows (RFC 9112, section 7.1).
func parseChunkLine(line string) (int64, error) {
	digits, extensions, _ := strings.Cut(line, ";")
	for _, c := range []byte(digits) {
		if !isDigit(c) && !('a' <= c|0x20 && c|0x20 <= 'f') {
			return 0, malformed("chunk size that is no number")
		}
	}
	if !isText(extensions) {
		return 0, malformed("control character in a chunk extension")
	}
	size, err := strconv.ParseInt(digits, 16, 64)
	if err != nil {
		return 0, malformed("chunk without a size, or with one that is too large")
	}
	return size, nil
}

// carry copies a body to w as it comes, in chunks if chunked; the last one brings the trailers. It does not close w.
func carry(w io.Writer, b *body, chunked bool) (carried int64, readErr, writeErr error) {
	const room = len("ffff\r\n") // before the data; bodyBuffer has no more digits
	if b.ended.Load() {
		return 0, nil, nil
	}
	size := bodyBuffer
	if b.framing.delimiter == byLength {
		size = int(min(b.framing.length, bodyBuffer))
	}
	buf := make([]byte, room+size+len("\r\n"))
	for {
		n, readErr := b.Read(buf[room : room+size])
		if n > 0 {
			message := buf[room : room+n]
			if chunked {
				line := append(strconv.AppendInt(nil, int64(n), 16), "\r\n"...)
				copy(buf[room-len(line):], line)
				message = append(buf[room-len(line):room+n], "\r\n"...) // there is room for these
			}
			if _, err := w.Write(message); err != nil {
				return carried, nil, err
			}
			carried += int64(n)
		}
		switch {
		case readErr == io.EOF && chunked:
			_, err := w.Write(append(b.trailers.forwardableTrailers().appendTo([]byte("0\r\n")), "\r\n"...))
			return carried, nil, err
		case readErr == io.EOF:
			return carried, nil, nil
		case readErr != nil:
			return carried, readErr, nil
		}
	}
}
