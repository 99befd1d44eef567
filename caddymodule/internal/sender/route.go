package sender

// byCountry is what a Sender may be as well: one that takes numbers of some
// countries only. The country has two letters (ISO 3166), or none when no
// country's plan knows the number. Others take all numbers.
type byCountry interface{ TakesCountry(country string) bool }

// byChannel is what a Sender may be as well: one that knows which channels it
// has. Others have sms alone.
type byChannel interface{ TakesChannel(channel string) bool }

// Channels are the ways to a phone.
var Channels = []string{"sms", "voice", "whatsapp"}

// TakesCountry reports whether a sender takes numbers of a country.
func TakesCountry(s Sender, country string) bool {
	c, picky := s.(byCountry)
	return !picky || c.TakesCountry(country)
}

func takesChannel(s Sender, channel string) bool {
	if c, ok := s.(byChannel); ok {
		return c.TakesChannel(channel)
	}
	return channel == "sms"
}

// Reaches reports whether any sender takes numbers of this one's country on a
// channel, whether or not it works right now.
func (q *Queue) Reaches(e164, channel string) bool { return len(q.route(e164, channel)) > 0 }

// route lists the senders that may have a message, in their order.
func (q *Queue) route(e164, channel string) (route []int) {
	country := q.options.Country(e164)
	for i, s := range q.options.Senders {
		if TakesCountry(s, country) && takesChannel(s, channel) {
			route = append(route, i)
		}
	}
	return route
}
