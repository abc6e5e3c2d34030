package commands

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usageError says that the command line is wrong, in a plain line.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// explainFlag puts what pflag says of a flag into plain words.
func explainFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	var required *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown):
		short, name := unknown.GetSpecifiedShortnames(), unknown.GetSpecifiedName()
		if long, _, _ := strings.Cut(short, "="); len(long) > 1 && cmd.Flags().Lookup(long) != nil {
			return usagef("there is no flag -%[1]s; with two dashes there is: --%[1]s", short)
		} else if short != "" {
			return usagef("there is no flag -%s%s", short, didYouMean(cmd.Flags(), long, "--"))
		}
		if cmd.HasParent() && cmd.Root().Flags().Lookup(name) != nil {
			return usagef("%s has no flag --%s", cmd.CommandPath(), name)
		}
		return usagef("there is no flag --%s%s", name, didYouMean(cmd.Flags(), name, "--"))
	case errors.As(err, &invalid):
		return usageError{invalidValue(invalid.GetFlag(), invalid.GetValue(), invalid.Unwrap())}
	case errors.As(err, &required):
		flag := required.GetFlag()
		return usagef("--%s needs a value: %s", flag.Name, example(flag))
	}
	return usageError{err}
}

// invalidValue says what a flag takes. cause is the word of its type.
func invalidValue(flag *pflag.Flag, value string, cause error) error {
	switch flag.Value.Type() {
	case "int", "duration", "bool":
		return fmt.Errorf("--%s cannot be %q; write %s", flag.Name, value, example(flag))
	}
	return fmt.Errorf("--%s: %w", flag.Name, cause)
}

// example shows how a flag is written.
func example(flag *pflag.Flag) string {
	value := flag.DefValue
	switch flag.Value.Type() {
	case "bool":
		return "--" + flag.Name
	case "duration":
		return fmt.Sprintf("a time with its unit, like --%s 30s or --%s 5m", flag.Name, flag.Name)
	case "int":
		return fmt.Sprintf("a number, like --%s %s", flag.Name, value)
	case "string", "stringSlice", "stringArray":
		value, _ = pflag.UnquoteUsage(flag)
		if value == "" || value == "strings" || value == "stringArray" {
			value = "WHAT"
		}
	}
	return fmt.Sprintf("--%s %s", flag.Name, value)
}

// didYouMean suggests flags with a name like this one, by the measure that
// cobra has for commands. dashes stand before a flag there.
func didYouMean(flags *pflag.FlagSet, name, dashes string) string {
	names := &cobra.Command{SuggestionsMinimumDistance: 2}
	flags.VisitAll(func(f *pflag.Flag) {
		names.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
	})
	if like := names.SuggestionsFor(name); len(like) > 0 && name != "" {
		return "; did you mean " + dashes + strings.Join(like, " or "+dashes) + "?"
	}
	return ""
}

// noEmptyFlags finds a flag whose text is empty, because a variable of a script
// was not set perhaps: --trash= must not delete for good.
func noEmptyFlags(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		kind := f.Value.Type()
		text := kind == "string" && f.Value.String() == "" || kind == "stringSlice" && f.Value.String() == "[]"
		if text && err == nil {
			err = usagef("--%s is empty; give it a value, or leave it out", f.Name)
		}
	})
	return err
}

// positional wants so many arguments. A flag that may stand without a value
// does not take the next word, which is then one too many.
func positional(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if i := slices.Index(args, ""); i >= 0 {
			return usagef("argument %d of %d is empty; want %s", i+1, len(args), what)
		}
		if !cmd.HasParent() && len(args) > 0 && elsewhere[args[0]] != "" {
			return usagef("there is no command %q; %s", args[0], elsewhere[args[0]])
		}
		if len(args) == n {
			return nil
		}
		if command := misspelled(cmd, args); command != "" {
			return usagef("there is no command %q; did you mean %s?", args[0], command)
		}
		if len(args) > n {
			for _, name := range []string{"mirror", "trash"} {
				if flag := cmd.Flags().Lookup(name); flag != nil && flag.Changed && flag.NoOptDefVal != "" {
					return usagef("one argument too many; a folder for --%s stands behind a =, like --%s=%s", name, name, args[0])
				}
			}
		}
		given := strings.TrimSuffix(": "+strings.Join(args, " "), ": ")
		return usagef("want %s, got %d of %d arguments%s", what, len(args), n, given)
	}
}

// elsewhere has commands that others have, and what there is instead.
var elsewhere = map[string]string{
	"mount":   "to mount, write: imapfs SOURCE MOUNTPOINT",
	"umount":  "to unmount, use: fusermount3 -u MOUNTPOINT",
	"unmount": "to unmount, use: fusermount3 -u MOUNTPOINT",
}

// misspelled returns the commands that the first argument of the bare program
// looks like; "" for none. SOURCE has a "://" in it.
func misspelled(cmd *cobra.Command, args []string) string {
	if cmd.HasParent() || len(args) == 0 || strings.Contains(args[0], "://") {
		return ""
	}
	return strings.Join(cmd.SuggestionsFor(args[0]), " or ")
}

// explainSource adds to an error of SOURCE what may have been meant.
func explainSource(cmd *cobra.Command, args []string, err error) error {
	source, dir := args[0], args[1]
	switch command := misspelled(cmd, args); {
	case strings.Contains(dir, "://"):
		return usagef("SOURCE comes first, and then MOUNTPOINT: %s %s %s", cmd.Name(), dir, source)
	case command != "":
		return usagef("there is no command %q; did you mean %s?", source, command)
	}
	return usageError{err}
}

// helpCommand is cobra's, but for one that fails where there is nothing to show.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := root.Find(args)
			if err != nil || about == nil || len(rest) > 0 {
				var names []string
				for _, c := range root.Commands() { // in order
					if c.IsAvailableCommand() {
						names = append(names, c.Name())
					}
				}
				return usagef("there is no command %q; there are %s", strings.Join(args, " "), strings.Join(names, ", "))
			}
			about.InitDefaultHelpFlag()
			about.InitDefaultVersionFlag()
			return about.Help()
		},
	}
}
