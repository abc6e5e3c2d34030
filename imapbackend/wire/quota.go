package wire

import (
	"strconv"
	"strings"
)

// Quota is one QUOTA response (RFC 9208 §5.1): what of a resource is used, and may be.
type Quota struct {
	Root      string
	Resources map[string]Resource // by name, in upper case: STORAGE, MESSAGE
}

// Resource is in units of 1024 bytes for STORAGE, and in messages for MESSAGE.
type Resource struct{ Used, Limit int64 }

func (a *answers) quota() {
	q := Quota{Resources: make(map[string]Resource)}
	v := a.value(0)
	if v.kind != isList { // or the root is left out
		q.Root = v.text
		v = a.value(0)
	}
	for list := v.list; len(list) >= 3; list = list[3:] {
		used, err1 := strconv.ParseInt(list[1].text, 10, 64)
		limit, err2 := strconv.ParseInt(list[2].text, 10, 64)
		if err1 == nil && err2 == nil && used >= 0 && limit >= 0 {
			q.Resources[strings.ToUpper(list[0].text)] = Resource{used, limit}
		}
	}
	if a.err == nil {
		a.h.Data(q)
	}
}
