package admin

// act answers one route. A nil answer is 204.
type act func(a *Admin, c *call) (answer any, err error)

// routes are all there are. What names a person by more than an id stands in a
// body and never in a path: the endpoint writes paths to its log.
var routes = map[string]act{
	"GET /sidegate/users":       (*Admin).users,
	"POST /sidegate/users/find": (*Admin).findUser,
	"GET /sidegate/users/{id}":  (*Admin).user,
}
