package imapbackend

import (
	"strings"
	"testing"
)

// TestByeInWords has the server end each connection with a text, at any moment on
// the way to a usable one. The text is in the error.
func TestByeInWords(t *testing.T) {
	const words = "closed for stocktaking"
	for _, command := range []string{"", "LOGIN", "CAPABILITY", "LIST"} {
		for _, end := range []string{cut, ""} {
			t.Run(command+end, func(t *testing.T) {
				s := &script{answer: func(_, c string) string {
					if command != "" && strings.HasPrefix(c, command) {
						return "* BYE " + words + "\r\n" + end
					}
					return ""
				}}
				if command == "" {
					s.greeting = func(int) string { return "* BYE " + words }
				}
				b, err := Connect(t.Context(), s.start(t))
				if b != nil {
					b.Close()
				}
				if err == nil || !strings.Contains(err.Error(), words) {
					t.Errorf("%v, want an error with %q", err, words)
				}
			})
		}
	}
}
