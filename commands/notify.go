package commands

import (
	"context"
	"html"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"
)

// desktop shows what the mount refuses where a file manager says only "Operation not
// permitted": in notifications (Desktop Notifications Specification 1.2 §9).
type desktop struct {
	refused chan refused // from requests, none of which waits
	more    atomic.Bool  // there was more than that
}

// refused is what cannot be done, and why.
type refused struct{ what, why string }

// mostSeldom is the time between two notifications, and busTimeout how long the bus may
// take for one.
const mostSeldom, busTimeout = 5 * time.Second, 5 * time.Second

// notifyDesktop returns where refusals are told, and what ends that.
func notifyDesktop(log *slog.Logger) (tell func(what, why string), end func()) {
	d := &desktop{refused: make(chan refused, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { d.run(ctx, log) })
	return d.tell, func() {
		cancel()
		running.Wait()
	}
}

func (d *desktop) tell(what, why string) {
	select {
	case d.refused <- refused{what, why}:
	default:
		d.more.Store(true)
	}
}

// run shows what is refused until ctx ends.
func (d *desktop) run(ctx context.Context, log *slog.Logger) {
	var shown uint32 // gives way to the next one
	isAway := false
	send := func(body ...any) {
		err := onSessionBus(ctx, &shown, body...)
		if err != nil && !isAway && ctx.Err() == nil {
			log.Warn("cannot show notifications; what is refused is in the log", "error", err)
		}
		isAway = err != nil
	}
	send() // to tell at once if there is no bus
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-d.refused:
			why := html.EscapeString(r.why) // it may be shown as markup
			if d.more.Swap(false) {
				why += "\nMore was refused; the log has it."
			}
			send("imapfs", shown, "", strings.ToValidUTF8(r.what, "?"), strings.ToValidUTF8(why, "?"), []string{}, map[string]dbus.Variant{}, int32(-1))
		}
		select {
		case <-ctx.Done():
		case <-time.After(mostSeldom):
		}
	}
}

// onSessionBus sends a notification and sets its id, or only looks for the bus. There is a connection for
// each, as notify-send has it: a session may begin after the mount, and end before it.
func onSessionBus(ctx context.Context, id *uint32, notification ...any) error {
	ctx, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	bus, err := dbus.SessionBusPrivateNoAutoStartup(dbus.WithContext(ctx)) // which closes it
	if err != nil {
		return err
	}
	defer bus.Close()
	if err := bus.Auth(nil); err != nil {
		return err
	}
	if err := bus.Hello(); err != nil || notification == nil {
		return err
	}
	service := bus.Object("org.freedesktop.Notifications", "/org/freedesktop/Notifications")
	return service.CallWithContext(ctx, "org.freedesktop.Notifications.Notify", 0, notification...).Store(id)
}
