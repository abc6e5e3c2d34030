package imapbackend

import (
	"errors"

	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

// askForQuota asks how much room there is for the user's mail (GETQUOTAROOT, RFC 9208
// §4.1.2), where the server can tell. What it does not tell is not known.
func (b *Backend) askForQuota() {
	err := b.pool.with(need{}, func(l *lease) error {
		if !l.can("QUOTA") {
			return nil
		}
		heard, end := l.ear.gather()
		err := l.command("ask for the quota", func() error {
			_, err := l.client.GetQuotaRoot("INBOX").Wait()
			return err
		})
		end()
		var quota mail.Quota
		for _, q := range heard.quotas {
			quota.Narrow(quotaOf(q))
		}
		b.mu.Lock()
		b.quota = quota
		b.mu.Unlock()
		return err
	})
	if err != nil && !errors.Is(err, mail.ErrRefused) && b.ctx.Err() == nil {
		b.log.Info("cannot ask for the quota", "error", err)
	}
}

// mostQuota is the largest limit that is believed, in units of 1024 bytes: some servers
// tell one that is none.
const mostQuota = 1 << 50

func quotaOf(q wire.Quota) (u mail.Quota) {
	if r, ok := q.Resources["STORAGE"]; ok && r.Limit > 0 && r.Limit < mostQuota {
		u.Bytes = mail.Room{Used: min(r.Used, mostQuota) << 10, Limit: r.Limit << 10}
	}
	if r, ok := q.Resources["MESSAGE"]; ok && r.Limit > 0 {
		u.Messages = mail.Room{Used: r.Used, Limit: r.Limit}
	}
	return u
}
