package admin

// act answers one route. A nil answer is 204.
type act func(a *Admin, c *call) (answer any, err error)

// routes are all there are. What names a person by more than an id stands in a
// body and never in a path: the endpoint writes paths to its log. So does what
// could stand in a path in two ways, such as a device's id.
var routes = map[string]act{
	"GET /sidegate/users":              (*Admin).users,
	"POST /sidegate/users":             (*Admin).createUser,
	"POST /sidegate/users/find":        (*Admin).findUser,
	"GET /sidegate/users/{id}":         plainly((*Admin).user),
	"PATCH /sidegate/users/{id}":       (*Admin).changeUser,
	"DELETE /sidegate/users/{id}":      plainly((*Admin).deleteUser),
	"POST /sidegate/users/{id}/ban":    (*Admin).ban,
	"POST /sidegate/users/{id}/unban":  (*Admin).unban,
	"POST /sidegate/users/{id}/reopen": (*Admin).reopenUser,
	"POST /sidegate/users/{id}/unlock": (*Admin).unlockUser,
	"POST /sidegate/unlock":            (*Admin).unlock,
	"POST /sidegate/users/import":      (*Admin).importUsers,
	"GET /sidegate/users/export":       (*Admin).exportUsers,
	"GET /sidegate/users/{id}/export":  plainly((*Admin).holdings),

	"GET /sidegate/users/{id}/sessions":         plainly((*Admin).sessions),
	"POST /sidegate/users/{id}/sessions/revoke": (*Admin).revokeUser,
	"GET /sidegate/sessions/{session}":          plainly((*Admin).session),
	"POST /sidegate/sessions/{session}/revoke":  (*Admin).revoke,
	"POST /sidegate/sessions/revoke-all":        (*Admin).revokeAll,
	"GET /sidegate/users/{id}/devices":          (*Admin).devices,
	"POST /sidegate/users/{id}/devices/delete":  (*Admin).deleteDevice,

	"GET /sidegate/blocks":              plainly((*Admin).blocks),
	"POST /sidegate/blocks":             (*Admin).block,
	"POST /sidegate/blocks/remove":      (*Admin).unblock,
	"GET /sidegate/keys":                plainly((*Admin).keys),
	"POST /sidegate/keys/rotate":        (*Admin).rotateKeys,
	"GET /sidegate/keys/master":         plainly((*Admin).masters),
	"POST /sidegate/keys/master":        (*Admin).rewrap,
	"POST /sidegate/keys/master/retire": (*Admin).retireMasters,
	"GET /sidegate/stats":               plainly((*Admin).stats),
	"GET /sidegate/audit/head":          plainly(func(a *Admin, _ *call) (any, error) { return a.AuditHead(), nil }),
	"POST /sidegate/migrate":            (*Admin).move,
	"GET /sidegate/migrate":             plainly((*Admin).moveStatus),
	"POST /sidegate/migrate/cancel":     (*Admin).cancelMove,
	"POST /sidegate/backup":             (*Admin).backup,
	"GET /sidegate/doctor":              plainly(func(a *Admin, c *call) (any, error) { return a.Doctor(c.Request) }),
}
