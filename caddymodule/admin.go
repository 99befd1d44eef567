package caddymodule

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/admin"
	"github.com/sidegate/sidegate/caddymodule/internal/api"
	"github.com/sidegate/sidegate/caddymodule/internal/backup"
	"github.com/sidegate/sidegate/caddymodule/internal/command"
	"github.com/sidegate/sidegate/caddymodule/internal/phone"
)

func init() {
	caddy.RegisterModule(Admin{})
	command.Register(command.Offline{
		Examine: examineFile, VerifyAudit: verifyAudit, NewKey: backup.NewKey, VerifyBackup: verifyBackup, Restore: restore,
		Abandon: abandon,
	})
}

// Admin puts the operators' routes below /sidegate/ of Caddy's admin endpoint.
// Whoever reaches that endpoint can already replace the whole configuration, so
// there is no other sign-in.
type Admin struct{}

// CaddyModule returns the Caddy module information.
func (Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.sidegate", New: func() caddy.Module { return new(Admin) }}
}

// Routes implements caddy.AdminRouter.
func (Admin) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: admin.Base, Handler: caddy.AdminHandlerFunc(serveOperator)}}
}

// serveOperator asks at every request which app is in use: after a reload that
// failed, the endpoint's routes are those of the configuration that failed.
func serveOperator(w http.ResponseWriter, r *http.Request) error {
	guest, err := caddy.ActiveContext().AppIfConfigured("sidegate")
	if err != nil {
		api.Problems{}.Write(w, r, auth.Refuse(auth.CodeNotFound).Because("The configuration in use has no sidegate."), false)
		return nil
	}
	app := guest.(*App)
	app.calls.RLock()
	defer app.calls.RUnlock()
	rt, err := app.runtime()
	if err != nil {
		app.problem(w, r, err)
		return nil
	}
	rt.operators.ServeHTTP(w, r)
	return nil
}

func (a *App) problem(w http.ResponseWriter, r *http.Request, err error) {
	api.Problems{Log: a.log}.Write(w, r, err, false)
}

// operators are the routes over an open store.
func (a *App) operators(rt *runtime) http.Handler {
	return admin.New(admin.Config{
		Service: rt.service, ParsePhone: a.readPhone, MaskPhone: phone.Mask, KnownCountry: phone.KnownCountry,
		Keys: rt.keys, RotateKeys: rt.tokens.Rotate, RevokeKeys: rt.tokens.Revoke,
		Masters: masters{rt.engine, a.masters}, Senders: rt.senders, Store: a.storeInfo,
		Doctor: rt.examine, AuditHead: func() any { return rt.engine.audit.Head() }, Problem: a.problem,
		CheckLock: func(l admin.Lock) error { return backup.Lock(l).Check() }, Backup: rt.engine.backup(a.masters),
		Moves: moves{a, rt.engine},
	})
}

func (rt *runtime) senders() (senders []admin.Sender) {
	for _, h := range rt.queue.Health() {
		senders = append(senders, admin.Sender{Name: h.Name, Down: h.Down, Failures: h.Failures, RetryAt: h.RetryAt})
	}
	return senders
}

// storeInfo asks the store's module, which may not know.
func (a *App) storeInfo() (admin.StoreInfo, error) {
	info := admin.StoreInfo{Address: a.store.Address()}
	sized, ok := a.store.(interface{ Size() (int64, error) })
	if !ok {
		return info, nil
	}
	bytes, err := sized.Size()
	info.Bytes = &bytes
	return info, err
}

// readPhone reads a number that an operator names: also one of a country that
// gets no codes any more.
func (a *App) readPhone(text string) (string, error) {
	return phone.ParseWith(text, a.isTestNumber)
}

// Interface guards
var _ caddy.AdminRouter = (*Admin)(nil)
