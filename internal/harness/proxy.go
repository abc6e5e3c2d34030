package harness

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Proxy passes one account's traffic on, counts it, and keeps the commands. So
// that it can read them it hides that the server can compress.
type Proxy struct {
	Listener net.Listener
	Silent   atomic.Bool // whoever comes is not answered
	Account
	ToServer, FromServer atomic.Int64

	mu       sync.Mutex
	commands []string
}

func NewProxy(t *testing.T, a Account) *Proxy {
	t.Helper()
	return NewProxyAt(t, a, "127.0.0.1:0")
}

func NewProxyAt(t *testing.T, a Account, addr string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	Must(t, err)
	p := &Proxy{Account: a, Listener: l}
	p.Addr = l.Addr().String()
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			if p.Silent.Load() {
				t.Cleanup(func() { down.Close() })
				continue
			}
			up, err := net.Dial("tcp", a.Addr)
			if err != nil {
				down.Close()
				continue
			}
			wg.Go(func() {
				defer down.Close()
				io.Copy(down, plainReader{countReader{up, &p.FromServer}})
			})
			wg.Go(func() {
				defer up.Close()
				in := bufio.NewReader(countReader{down, &p.ToServer})
				for {
					line, err := in.ReadString('\n')
					p.mu.Lock()
					p.commands = append(p.commands, strings.TrimSpace(line))
					p.mu.Unlock()
					if _, werr := io.WriteString(up, line); err != nil || werr != nil {
						return
					}
				}
			})
		}
	})
	return p
}

type countReader struct {
	r io.Reader
	n *atomic.Int64
}

func (c countReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// plainReader hides COMPRESS=DEFLATE.
type plainReader struct{ io.Reader }

func (r plainReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	copy(b, bytes.ReplaceAll(b[:n], []byte("COMPRESS=DEFLATE"), []byte("X-COMPRESS=NEVER")))
	return n, err
}

// Sent returns the commands that hold a word, without their tags, and without
// IDLE, which may come at any time.
func (p *Proxy) Sent(word string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	for _, c := range p.commands {
		if _, command, _ := strings.Cut(c, " "); strings.Contains(command, word) && command != "IDLE" && c != "DONE" {
			list = append(list, command)
		}
	}
	return list
}

var fetchesContent = regexp.MustCompile(`^UID FETCH (\S+) .*BODY\.PEEK\[(?:[^H]|HEADER\])`)

// Content returns the UIDs whose content was asked for, and with how many
// commands.
func (p *Proxy) Content(t *testing.T) (uids []int, commands int) {
	t.Helper()
	for _, c := range p.Sent("UID FETCH") {
		m := fetchesContent.FindStringSubmatch(c)
		if m == nil {
			continue
		}
		commands++
		for r := range strings.SplitSeq(m[1], ",") {
			first, last, ok := strings.Cut(r, ":")
			if !ok {
				last = first
			}
			a, err1 := strconv.Atoi(first)
			b, err2 := strconv.Atoi(last)
			if err1 != nil || err2 != nil {
				t.Fatalf("a set of UIDs: %s", r)
			}
			for ; a <= b; a++ {
				uids = append(uids, a)
			}
		}
	}
	return uids, commands
}

// Forget forgets the commands so far.
func (p *Proxy) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commands = nil
}
