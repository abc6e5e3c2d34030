package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

func value(n int) func() ([]byte, error) {
	return func() ([]byte, error) { return make([]byte, n), nil }
}

func TestBudget(t *testing.T) {
	ctx := context.Background()
	const budget = 100_000
	c := New(budget, nil)
	for i := range 1000 {
		if _, err := c.Get(ctx, fmt.Sprint(i), value(i)); err != nil {
			t.Fatal(err)
		}
		if used := c.Used(); used > budget {
			t.Fatalf("after %d entries the cache uses %d bytes of %d", i+1, used, budget)
		}
	}
	if _, ok := c.Peek("999"); !ok {
		t.Error("the newest entry is gone")
	}
	if _, ok := c.Peek("0"); ok {
		t.Error("the oldest entry is still here")
	}
}

func TestTinyValuesCostMoreThanTheirBytes(t *testing.T) {
	c := New(1000*overhead, nil)
	for i := range 5000 {
		c.add(fmt.Sprint(i), nil)
	}
	if n := c.lru.Len(); n >= 1000 {
		t.Errorf("%d empty entries are kept; the budget is that of fewer than 1000", n)
	}
}

func TestLeastRecentlyUsedGoesFirst(t *testing.T) {
	ctx := context.Background()
	c := New(3*(1000+overhead+1), nil)
	for _, key := range []string{"a", "b", "c"} {
		c.Get(ctx, key, value(1000))
	}
	c.Peek("a")
	c.Get(ctx, "d", value(1000))
	for key, want := range map[string]bool{"a": true, "b": false, "c": true, "d": true} {
		if _, ok := c.Peek(key); ok != want {
			t.Errorf("%s is here: %v, want %v", key, ok, want)
		}
	}
}

func TestTooLargeIsReturnedButNotKept(t *testing.T) {
	c := New(1000, nil)
	c.add("small", []byte("x"))
	got, err := c.Get(context.Background(), "large", value(5000))
	if err != nil || len(got) != 5000 {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	if _, ok := c.Peek("large"); ok {
		t.Error("a value above the budget was kept")
	}
	if _, ok := c.Peek("small"); !ok {
		t.Error("a value above the budget pushed out others")
	}
}

func TestConcurrentCallersShareOneLoad(t *testing.T) {
	c := New(1<<20, nil)
	var loads atomic.Int32
	release := make(chan struct{})
	load := func() ([]byte, error) {
		loads.Add(1)
		<-release
		return []byte("mail"), nil
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			got, err := c.Get(context.Background(), "k", load)
			if err != nil || !bytes.Equal(got, []byte("mail")) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	close(release)
	wg.Wait()
	if n := loads.Load(); n != 1 {
		t.Errorf("%d loads, want 1", n)
	}
}

func TestLoadOutlivesItsCaller(t *testing.T) {
	c := New(1<<20, nil)
	ctx, cancel := context.WithCancel(context.Background())
	started, release := make(chan struct{}), make(chan struct{})
	load := func() ([]byte, error) {
		close(started)
		<-release
		return []byte("mail"), nil
	}
	failed := make(chan error)
	go func() {
		_, err := c.Get(ctx, "k", load)
		failed <- err
	}()
	<-started
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Fatalf("the cancelled caller got %v", err)
	}
	close(release)
	got, err := c.Get(context.Background(), "k", func() ([]byte, error) {
		return nil, errors.New("loaded again")
	})
	if err != nil || string(got) != "mail" {
		t.Errorf("the next caller got %q, %v", got, err)
	}
}

func TestErrorsAreNotKept(t *testing.T) {
	c := New(1<<20, nil)
	broken := errors.New("broken")
	if _, err := c.Get(context.Background(), "k", func() ([]byte, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	if got, err := c.Get(context.Background(), "k", value(3)); err != nil || len(got) != 3 {
		t.Errorf("after an error: %d bytes, %v", len(got), err)
	}
}

func TestClaim(t *testing.T) {
	ctx := context.Background()
	c := New(1<<20, nil)
	never := func() ([]byte, error) { return nil, errors.New("loaded although it was claimed") }

	kept := c.Claim("kept")
	if kept == nil || !c.Comes("kept") || c.Claim("kept") != nil {
		t.Fatal("a key can be claimed once, and comes from then on")
	}
	got := make(chan string)
	go func() {
		value, err := c.Get(ctx, "kept", never)
		got <- fmt.Sprint(string(value), err)
	}()
	kept.Keep([]byte("mail"))
	if s := <-got; s != "mail<nil>" {
		t.Errorf("who waited got %s", s)
	}
	if c.Comes("kept") || c.Claim("kept") != nil {
		t.Error("what is here comes no more, and is not to be fetched again")
	}

	released := c.Claim("released")
	go func() {
		value, err := c.Get(ctx, "released", func() ([]byte, error) { return []byte("own"), nil })
		got <- fmt.Sprint(string(value), err)
	}()
	released.Release()
	if s := <-got; s != "own<nil>" {
		t.Errorf("after a release, who waited got %s", s)
	}
}
