package caddymodule_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// childCommand makes the test binary Caddy's command line, for its exit codes.
const childCommand = "SIDEGATE_TEST_COMMAND"

// tree is `caddy sidegate`, as Caddy builds it.
func tree() *cobra.Command {
	sidegate := caddycmd.Commands()["sidegate"]
	cmd := &cobra.Command{Use: sidegate.Name, Short: sidegate.Short, Long: sidegate.Long}
	sidegate.CobraFunc(cmd)
	return cmd
}

// run runs `caddy sidegate …` in this process and gives what it prints.
func run(args ...string) (out, errs string, err error) {
	cmd := tree()
	var stdout, stderr bytes.Buffer
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	cmd.SetArgs(args)
	err = cmd.Execute()
	return stdout.String(), stderr.String(), err
}

// commandLine is a command and what it prints: to standard output, or to standard error
// when it fails.
type commandLine struct {
	command string
	says    string
	fails   bool
}

// words splits a command; single quotes keep words together.
func words(command string) (words []string) {
	for i, part := range strings.Split(command, "'") {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}

// commandLines are every command, with good words and with wrong ones, in an
// order that makes sense. {session} is one of user 1, {log} is Caddy's, {dir} has
// users.csv and elsewhere, and {recipient} is the last key for backups.
var commandLines = []commandLine{
	{"users list", "+•••••••••67", false},
	{"users list --limit 1", "There may be more: --after ", false},
	{"users list --role nobody", "ID  PHONE", false},
	{"users list --limit 0", "limit must be a number from 1 to 1000. (invalid_request)", true},
	{"users get 1", "+•••••••••67", false},
	{"users get +46701234567 --json", `"auth_user_id":1,"phone":"+•••••••••67"`, false},
	{"users get 99", "There is no user with this id. (not_found)", true},
	{"users get +46709999999", "No user has this number. (not_found)", true},
	{"users get x", "no user's id", true},
	{"users get", "accepts 1 arg(s), received 0; usage: sidegate users get USER", true},
	{"users create +46709998877 --id 4711 --roles vip,beta", "vip,beta", false},
	{"users create +46709998877", "phone_taken", true},
	{"users create 12345", "phone_invalid", true},
	{"users create +46709998876 --id x", "invalid argument", true},
	{"users set +46709998877 --type staff --roles ''", "staff", false},
	{"users set 4711", "say what to set", true},
	{"users set 4711 --roles a,,b", "invalid_request", true},
	{"users ban 4711 --for 7d --reason 'ticket 99'", "ticket 99", false},
	{"users list --banned", "ticket 99", false},
	{"users ban +46709998877", "for good", false},
	{"users ban 4711 --until 2099-01-01T00:00:00Z", "until 209", false},
	{"users ban 4711 --until 2001-01-01T00:00:00Z", "over already", true},
	{"users ban 4711 --until tomorrow", "no time", true},
	{"users ban 4711 --for ever", "no duration", true},
	{"users ban 4711 --for 1h --until 2099-01-01T00:00:00Z", "not both", true},
	{"users unban 4711", "4711", false},
	{"users unban 99", "not_found", true},
	{"users reopen 1", "+•••••••••67", false},
	{"users reopen 99", "not_found", true},
	{"users unlock 1", "forgotten", false},
	{"users unlock +46700000001", "forgotten", false},
	{"users unlock x", "no user's id", true},
	{"users delete 4711", "say --yes", true},
	{"users delete 4711 --yes", "deleted", false},
	{"users delete 4711 --yes", "not_found", true},

	{"users import {dir}/users.csv --dry-run", "1 users would be new", false},
	{"users import {dir}/users.csv", "1 users new", false},
	{"users import {dir}/nowhere.csv", "no such file", true},
	{"users export", `"auth_user_id":4713`, false},
	{"users export 4713", `"phone":"+46709998874"`, false},
	{"users export 99", "not_found", true},

	{"backup new-key {dir}/backup.key", "age1", false},
	{"backup new-key {dir}/backup.key", "exists", true},
	{"backup --recipient {recipient}", "age-encryption.org/v1", false},
	{"backup", "--recipient", true},
	{"backup verify {dir}/made.backup --identity {dir}/backup.key", "records", false},
	{"backup verify {dir}/users.csv --identity {dir}/backup.key", "no head of age", true},
	{"restore {dir}/made.backup --identity {dir}/backup.key --config {dir}/elsewhere --adapter caddyfile --end-all-sessions", "records", false},
	{"restore {dir}/made.backup --identity {dir}/backup.key --config {dir}/elsewhere --adapter caddyfile --end-all-sessions", "a store already", true},

	{"sessions list 1", "laptop", false},
	{"sessions list +46701234567", "live", false},
	{"sessions list 99", "not_found", true},
	{"sessions get -- {session}", "phone", false},
	{"sessions get -traDbkeVc-2SWDe5-IoTw", "behind two of them: -- -traDbkeVc-2SWDe5-IoTw", true},
	{"sessions get x", "no session's id", true},
	{"sessions revoke -- {session}", "The session is over.", false},
	{"sessions revoke --json -- {session}", "", false},
	{"sessions get -- {session}", "revoked", false},
	{"sessions revoke AAAAAAAAAAAAAAAAAAAAAA", "not_found", true},
	{"sessions revoke --user +46701234567", "The user's sessions are over.", false},
	{"sessions revoke --user 99", "not_found", true},
	{"sessions revoke", "name a session, or --user USER, or --all", true},
	{"sessions revoke --all -- {session}", "name a session, or --user USER, or --all", true},
	{"sessions revoke --all --user 1", "name a session, or --user USER, or --all", true},
	{"sessions revoke --all", "All sessions are over.", false},

	{"devices list 1", "laptop", false},
	{"devices list 1 --limit 1", "There may be more: --after ", false},
	{"devices list 1 --after laptop --json", `"devices":[`, false},
	{"devices list 99", "not_found", true},
	{"devices delete 1 laptop", "The device is forgotten.", false},
	{"devices delete 1 laptop", "no such device", true},
	{"devices delete 1", "accepts 2 arg(s)", true},

	{"blocks list", "COUNTRY", false},
	{"blocks list NG", "unknown command", true},
	{"blocks add --prefix +23470 --reason 'ticket 99'", "No more codes go there.", false},
	{"blocks add --country NG", "No more codes", false},
	{"blocks add --country XX", "No country has this code", true},
	{"blocks add", "name --country or --prefix", true},
	{"blocks list", "ticket 99", false},
	{"blocks remove --country NG", "Codes go there again.", false},
	{"blocks remove --country NG", "not blocked", true},
	{"blocks remove --country NG --prefix +234", "and not both", true},

	{"keys list", "signs", false},
	{"keys list all", "unknown command", true},
	{"keys rotate now", "unknown command", true},
	{"keys rotate", "next", false},
	{"keys master", "in use", false},
	{"keys master now", "unknown command", true},
	{"keys retire-master now", "unknown command", true},
	{"keys rewrap", "opens the store", false},
	{"keys rewrap --new-key-file /nowhere", "/nowhere", true},
	{"keys retire-master", "in use", false},
	{"keys rotate --revoke", "signs", false},
	{"migrate", "--to FILE", true},
	{"migrate status", "not_found", true},
	{"migrate cancel", "No move is under way", true},
	{"migrate --to {dir}/nokey --adapter caddyfile", "the new configuration has none", true},
	{"migrate --to {dir}/next --adapter caddyfile --skip-codes", "in_step", false},
	{"migrate --to {dir}/next --adapter caddyfile", "a move is under way", true},
	{"migrate status", "records compared", false},
	{"migrate status --json", `"phase":"in_step"`, false},
	{"migrate cancel", "The move is over", false},
	{"migrate --to {dir}/next --adapter caddyfile", "holds records already", true},
	{"migrate --to {dir}/next --adapter caddyfile --overwrite --detach", "badger {dir}/next.store", false},
	{"migrate cancel --json", `"phase":"stopped"`, false},
	{"migrate abandon", "--config FILE", true},
	{"migrate abandon --config {dir}/next --adapter caddyfile", "never handed over", true},
	{"migrate abandon --config {dir}/next --adapter caddyfile --unfinished", "may be used again", false},
	{"stats", "live sessions in memory", false},
	{"stats --json", `"live_sessions":`, false},
	{"doctor", "ok       file modes", false},
	{"doctor --json", `"healthy":true`, false},
	{"doctor /nowhere/Caddyfile", "/nowhere/Caddyfile", true},
	{"audit verify {log}", "whole and in order", false},
	{"audit verify /nowhere/audit.log", "no such file", true},

	{"", "Exit codes", false},
	{"users", "Available Commands", false},
	{"--help", "Exit codes", false},
	{"users ban --help", "caddy sidegate users ban 7 --for 7d", false},
	{"user list", `unknown command "user"`, true},
	{"users lst", `unknown command "lst"`, true},
	{"users list --banned=maybe", "invalid argument", true},
	{"users list --nonsense", "unknown flag", true},
	{"stats now", "unknown command", true},
}

func TestCommands(t *testing.T) {
	for name, address := range map[string]string{"unix": socket(t), "TCP": freeAddress(t)} {
		o := startOffice(t, address, plenty)
		fill, log := o.people(), filepath.Join(o.dir, "caddy.log")
		recipient := "" // of the backups
		o.heard()
		for file, text := range map[string]string{
			"users.csv": "phone,auth_user_id\n+46709998874,4713\n",
			"next":      "{\n sidegate {\n master_key {file." + o.store() + "/master.key}\n store badger {\n path " + o.dir + "/next.store\n}\n}\n}\n",
			"nokey":     "{\n sidegate {\n store badger {\n path " + o.dir + "/nokey.store\n}\n}\n}\n",
			"elsewhere": "{\n sidegate {\n store badger {\n path " + o.dir + "/elsewhere.store\n}\n}\n}\n",
		} {
			o.keep(file, text)
		}
		for _, line := range commandLines {
			args := words(strings.NewReplacer("{log}", log, "{dir}", o.dir, "{recipient}", recipient).Replace(fill.Replace(line.command)))
			if len(args) > 0 && !strings.Contains(line.command, "--help") {
				args = append([]string{"--address", o.address, "--by", "anna"}, args...)
			}
			out, errs, err := run(args...)
			said, other := out, errs
			if line.fails {
				said, other = errs, out
			}
			if line.fails != (err != nil) || !strings.Contains(said, fill.Replace(line.says)) || other != "" {
				t.Errorf("%s: %s: %v\nout: %s\nerrors: %s", name, line.command, err, out, errs)
			}
			switch {
			case strings.HasPrefix(out, "age1"):
				recipient = strings.TrimSpace(out)
			case strings.HasPrefix(out, "age-encryption.org/"):
				o.keep("made.backup", out)
			}
			if strings.Contains(line.command, "--json") && out != "" && !json.Valid([]byte(out)) {
				t.Errorf("%s: %s: not JSON: %s", name, line.command, out)
			}
		}
		o.checkActs()
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// keep writes a file beside the store.
func (o *office) keep(file, text string) {
	o.t.Helper()
	if err := os.WriteFile(filepath.Join(o.dir, file), []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
}

// checkActs fails unless commands did all that operators can do, and each act
// left its audit line.
func (o *office) checkActs() {
	o.t.Helper()
	var told []string
	for _, e := range o.heard() {
		if !strings.HasPrefix(e.By, "anna@") || !toldWhole(e) {
			o.t.Errorf("%s: told of %q, %+v", e.Name, e.By, e)
		}
		told = append(told, string(e.Name))
	}
	if lines := o.auditLines("anna@"); !slices.Equal(lines, told) {
		o.t.Errorf("audit lines %q, told %q", lines, told)
	}
	for _, order := range orders {
		if order.told != "" && !slices.Contains(told, string(order.told)) {
			o.t.Errorf("no command leads to %s", order.told)
		}
	}
}

// Every command is driven, with good words and with wrong ones.
func TestCommandLinesAreOfAllCommands(t *testing.T) {
	for _, name := range leaves(tree(), "") {
		for _, fails := range []bool{false, true} {
			driven := slices.ContainsFunc(commandLines, func(line commandLine) bool {
				return line.fails == fails && strings.HasPrefix(line.command+" ", name+" ") && !strings.Contains(line.command, "--help")
			})
			if !driven {
				t.Errorf("%s is not driven so that it fails: %v", name, fails)
			}
		}
	}
}

// Every command that the documents name is there, and the other way round.
func TestCommandsAreDocumented(t *testing.T) {
	page := readPage(t, "../docs/admin.md")
	root := tree()
	for _, name := range leaves(root, "") {
		if !strings.Contains(page, "| `"+name+" ") && !strings.Contains(page, "| `"+name+"`") {
			t.Errorf("docs/admin.md does not name %s", name)
		}
		cmd, _, err := root.Find(strings.Fields(name))
		if err != nil || cmd.Example == "" || cmd.Short == "" {
			t.Errorf("%s has no example or no description: %v", name, err)
		}
	}
}

// caddyCommand runs a whole command line in a process of its own.
func caddyCommand(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), childCommand+"=1")
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

func TestExitCodes(t *testing.T) {
	o := startOffice(t, socket(t), plenty)
	o.people()
	file := filepath.Join(o.dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(o.config(plenty, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	at := " --address " + o.address
	for _, row := range []struct {
		command string
		code    int
		says    string
	}{
		{"sidegate users get 1" + at, 0, "+•••••••••67"},
		{"sidegate users get 1 --config " + file + " --adapter caddyfile", 0, "+•••••••••67"},
		{"sidegate users get 99" + at, 1, "Error: There is no user with this id. (not_found)"},
		{"sidegate users ban 1 --for ever" + at, 2, "Error: --for"},
		{"sidegate users get" + at, 2, "usage:"},
		{"sidegate users get 1 --nonsense" + at, 2, "unknown flag"},
		{"sidegate usrs" + at, 2, "unknown command"},
		{"sidegate users get 1 --address x/y/z", 2, "no address of an admin endpoint"},
		{"sidegate users get 1 --config /nowhere/Caddyfile", 2, "/nowhere/Caddyfile"},
		{"sidegate users get 1 --address 127.0.0.1:1", 3, "no answer from Caddy's admin endpoint"},
		{"sidegate users get 1 --address unix//nowhere", 3, "is it running"},
		{"sidegate doctor /nowhere/Caddyfile", 2, "/nowhere/Caddyfile"},
		{"sidegate --help", 0, "users"},
		{"__complete sidegate us", 0, "users\tWho may sign in"},
		{"__complete sidegate users b", 0, "ban\t"},
		{"__complete sidegate users ban --re", 0, "--reason"},
	} {
		out, code := caddyCommand(t, strings.Fields(row.command)...)
		if code != row.code || !strings.Contains(out, row.says) {
			t.Errorf("%s: exit %d, want %d\n%s", row.command, code, row.code, out)
		}
	}
}

// A server that knows no sidegate, and one that lets nobody in, are no reason to
// guess.
func TestCommandsAtOtherServers(t *testing.T) {
	o := startOffice(t, freeAddress(t), plenty)
	_, errs, err := run("users", "get", "1", "--address", o.site.address) // the gate itself
	if err == nil || !strings.Contains(errs, "does not know sidegate") && !strings.Contains(errs, "token_missing") {
		t.Errorf("got %v %s", err, errs)
	}
	o.load("{\n admin " + o.address + " {\n enforce_origin\n}\n persist_config off\n}\nhttp://" + o.site.address + " {\n respond hello\n}")
	_, errs, err = run("users", "get", "1", "--address", o.address)
	if err == nil || !strings.Contains(errs, "The configuration in use has no sidegate.") {
		t.Errorf("got %v %s", err, errs)
	}
}

func TestDoctorOfAFile(t *testing.T) {
	o := newOffice(t, socket(t))
	good := o.config(plenty, "")
	for _, row := range []struct {
		name, caddyfile, says string
	}{
		{"as it should be", good, "ok       admin endpoint"},
		{"an endpoint for all", strings.Replace(good, "admin "+o.address, "admin :2019", 1), "wrong    admin endpoint"},
		{"a secret as it is", strings.Replace(good, "sender file", "sender webhook http://"+o.upstream.address+" {\n secret hunter2\n}\n sender file", 1), "wrong    secrets"},
		{"a sender that is down", strings.Replace(good, "sender file", "sender webhook http://127.0.0.1:1\n sender file", 1), "wrong    senders"},
		{"proxies that are trusted too much", strings.Replace(good, "grace_period 5s", "servers {\n trusted_proxies static private_ranges\n}", 1), "wrong    trusted proxies"},
		{"an app in the open", strings.Replace(good, "reverse_proxy "+o.upstream.address, "reverse_proxy 192.0.2.1:80", 1), "wrong    way around the gate"},
	} {
		file := filepath.Join(t.TempDir(), "Caddyfile")
		if err := os.WriteFile(file, []byte(row.caddyfile), 0o600); err != nil {
			t.Fatal(err)
		}
		out, errs, err := run("doctor", file)
		if row.caddyfile == good != (err == nil) || !strings.Contains(out, row.says) {
			t.Errorf("%s: %v\n%s%s", row.name, err, out, errs)
		}
	}
}
