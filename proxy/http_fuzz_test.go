package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// FuzzHTTPRequest compares our reading of a request with that of net/http. What we take, net/http must take too, and read
// the same: method, target, fields, trailers, body, and where the next request begins. And what we make of it for the
// origin must be one request again, the same but for what is not for the origin.
func FuzzHTTPRequest(f *testing.F) {
	for _, d := range slices.Concat(httpDialogues, exchangeDialogues) {
		for _, s := range d.says {
			f.Add([]byte(s.send + getRequest))
		}
	}
	for _, s := range smuggling {
		f.Add([]byte(s.said))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		ours := bufio.NewReader(bytes.NewReader(said))
		r, err := readRequest(ours)
		var why *refusal
		switch {
		case errors.As(err, &why) && why.status/100 != 4 && why.status != http.StatusHTTPVersionNotSupported:
			t.Fatalf("refused with status %d", why.status)
		case err != nil:
			return
		}
		// net/http takes no empty line before, and looks for the end of a trailer section in its buffer only.
		theirs := bufio.NewReaderSize(bytes.NewReader(bytes.TrimPrefix(said, []byte("\r\n"))), len(said)+1)
		want, err := http.ReadRequest(theirs)
		if err != nil && strings.Contains(err.Error(), "bad trailer key") {
			return // in the field Trailer, which tells us nothing and goes no further
		}
		if err != nil {
			t.Fatalf("net/http does not take this: %v", err)
		}
		if r.method != want.Method || r.minor != want.ProtoMinor || want.ProtoMajor != 1 {
			t.Errorf("we read %s, HTTP/1.%d; net/http %s, %s", r.method, r.minor, want.Method, want.Proto)
		}
		compareTarget(t, r, want)
		compareFields(t, r.fields, want.Header, "Host", "Transfer-Encoding", "Trailer")
		compareFraming(t, r.framing, want)

		b := newBody(ours, r.framing)
		body, err := io.ReadAll(b)
		if err != nil {
			return // net/http may be less strict
		}
		wantBody, err := io.ReadAll(want.Body)
		if !bytes.Equal(body, wantBody) || err != nil {
			t.Fatalf("our body is %q, that of net/http %q, error %v", body, wantBody, err)
		}
		compareFields(t, b.trailers, want.Trailer)
		rest, _ := io.ReadAll(ours)
		wantRest, _ := io.ReadAll(theirs)
		if !bytes.Equal(rest, wantRest) {
			t.Errorf("for us the next request begins with %.20q, for net/http with %.20q", rest, wantRest)
		}
		if r.target.form == absoluteForm {
			checkForwarded(t, r, b, body)
		}
	})
}

// compareTarget compares what we have read of a target with what net/http has.
func compareTarget(t *testing.T, r *request, want *http.Request) {
	t.Helper()
	var got string
	switch r.target.form {
	case authorityForm:
		got = r.target.authority
	case originForm, asteriskForm:
		got = r.target.path
	case absoluteForm:
		if host := strings.TrimSuffix(want.URL.Host, ":"); host != r.target.authority {
			t.Errorf("we read the authority %q, net/http %q", r.target.authority, want.URL.Host)
		}
		got = want.RequestURI[:len("http://")+len(want.URL.Host)] + r.target.path
		if r.target.path == "*" || want.URL.Path == "" { // we have added the asterisk, or a slash
			got = want.RequestURI
		}
	}
	if got != want.RequestURI {
		t.Errorf("we read the target %q, net/http %q", got, want.RequestURI)
	}
	if r.target.address != "" {
		checkAddress(t, r.target.address)
	}
}

// compareFields compares a section, but for the fields of some names.
func compareFields(t *testing.T, got fields, want http.Header, but ...string) {
	t.Helper()
	ours := http.Header{}
	for _, f := range got {
		ours.Add(f.name, f.value)
	}
	want = maps.Clone(want)
	if ours.Get("Pragma") == "no-cache" && ours["Cache-Control"] == nil {
		delete(want, "Cache-Control") // net/http adds one
	}
	for _, name := range but {
		delete(ours, name)
		delete(want, name)
	}
	if !maps.EqualFunc(ours, want, slices.Equal) {
		t.Errorf("we read the fields %q, net/http %q", ours, want)
	}
}

func compareFraming(t *testing.T, f framing, want *http.Request) {
	t.Helper()
	chunked := slices.Equal(want.TransferEncoding, []string{"chunked"})
	if chunked != (f.delimiter == byChunks) || !chunked && want.ContentLength != max(f.length, 0) {
		t.Errorf("we read the framing %+v, net/http the length %d and the coding %q", f, want.ContentLength, want.TransferEncoding)
	}
}

// checkForwarded reads with net/http what an origin gets of a request.
func checkForwarded(t *testing.T, r *request, b *body, body []byte) {
	t.Helper()
	var sent bytes.Buffer
	_, _ = sent.Write(r.head())
	again := newBody(bufio.NewReader(bytes.NewReader(body)), r.framing)
	if r.framing.delimiter == byChunks { // its chunks are gone, and are made anew
		again = newBody(bufio.NewReader(bytes.NewReader(body)), framing{untilClose, -1})
		again.trailers = b.trailers
	}
	if _, readErr, writeErr := carry(&sent, again, r.framing.delimiter == byChunks); readErr != nil || writeErr != nil {
		t.Fatalf("carry: %v, %v", readErr, writeErr)
	}
	reader := bufio.NewReaderSize(&sent, sent.Len()+1)
	got, err := http.ReadRequest(reader)
	if err != nil {
		t.Fatalf("net/http does not take what is forwarded: %v", err)
	}
	gotBody, err := io.ReadAll(got.Body)
	if rest, _ := io.ReadAll(reader); len(rest) > 0 || err != nil || !bytes.Equal(gotBody, body) {
		t.Errorf("forwarded: the body is %q, error %v, and %q follows; want %q and nothing", gotBody, err, rest, body)
	}
	if got.Method != r.method || got.RequestURI != r.target.path || got.Host != r.target.authority {
		t.Errorf("forwarded: %s %s to %s; want %s %s to %s", got.Method, got.RequestURI, got.Host, r.method, r.target.path, r.target.authority)
	}
	for _, section := range []http.Header{got.Header, got.Trailer} {
		for name := range section {
			if isOneOf(name, hopByHop) && name != "Connection" && name != "Upgrade" {
				t.Errorf("forwarded: %s", name)
			}
		}
	}
}

// FuzzHTTPResponse has an origin that says anything, and compares what the client hears with what net/http reads from
// the origin. What we take, net/http must take too, and read the same; else the client hears 502 or a part that does not
// look whole.
func FuzzHTTPResponse(f *testing.F) {
	for _, d := range exchangeDialogues {
		for _, steps := range d.origins {
			for _, s := range steps {
				f.Add(false, []byte(s.says))
				f.Add(true, []byte(s.says+okResponse))
			}
		}
	}
	f.Fuzz(func(t *testing.T, head bool, says []byte) {
		method := http.MethodGet
		if head {
			method = http.MethodHead
		}
		heard := hearResponse(t, method, says)
		request := &http.Request{Method: method}
		ours := bufio.NewReaderSize(bytes.NewReader(heard), len(heard)+1)
		theirs := bufio.NewReaderSize(bytes.NewReader(says), len(says)+1)
		for {
			got, err := http.ReadResponse(ours, request)
			if err != nil {
				t.Fatalf("the client heard %q: %v", heard, err)
			}
			body, bodyErr := io.ReadAll(got.Body)
			if got.StatusCode == http.StatusBadGateway && strings.HasPrefix(got.Header.Get("Proxy-Status"), "wimble; error=") {
				break // the response of the proxy's own
			}
			want, err := http.ReadResponse(theirs, request)
			if err != nil {
				t.Fatalf("net/http does not take this: %v", err)
			}
			if got.StatusCode != want.StatusCode {
				t.Errorf("the status is %d, want %d", got.StatusCode, want.StatusCode)
			}
			wantBody, wantErr := io.ReadAll(want.Body)
			if bodyErr == nil && (wantErr != nil || !bytes.Equal(body, wantBody)) {
				t.Errorf("the body is %q, want %q, %v", body, wantBody, wantErr)
			}
			for name, values := range got.Header {
				if name != "Connection" && name != "Content-Length" && name != "Cache-Control" && !slices.Equal(values, want.Header[textproto.CanonicalMIMEHeaderKey(name)]) {
					t.Errorf("field %s has %q, want %q", name, values, want.Header[name])
				}
			}
			if got.StatusCode >= 200 {
				break
			}
		}
		if rest, _ := io.ReadAll(ours); len(rest) > 0 {
			t.Errorf("behind the response the client heard %q", rest)
		}
	})
}

// hearResponse returns what a client hears when it sends a request and its origin says something and ends.
func hearResponse(t *testing.T, method string, says []byte) (heard []byte) {
	synctest.Test(t, func(t *testing.T) {
		var all sync.WaitGroup
		s, err := New(Config{Dial: func(context.Context, string, string) (net.Conn, error) {
			near, far := newMemPair()
			all.Go(func() {
				_, _ = io.ReadFull(far, make([]byte, 10))
				all.Go(func() { _, _ = io.Copy(io.Discard, far) })
				_, _ = far.Write(says)
				far.Close()
			})
			return near, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		client, server := newClientPair("127.0.0.1")
		all.Go(func() {
			_, _ = io.WriteString(client, method+getRequest[len("GET"):])
			_ = client.CloseWrite()
		})
		all.Go(func() {
			heard, _ = io.ReadAll(client)
			client.Close()
		})
		s.serve(t.Context(), t.Context(), server)
		server.Close()
		all.Wait()
		if got := s.Stats(); got.Handshakes != 0 || got.Conns != 0 {
			t.Errorf("%d handshakes and %d connections left", got.Handshakes, got.Conns)
		}
	})
	return heard
}
