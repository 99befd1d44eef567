package auth

import "time"

// EventName says what has happened.
type EventName string

const (
	EventCodeRequested   EventName = "code_requested"   // a message was asked for, and not refused
	EventCodeDelivered   EventName = "code_delivered"   // a sender took it
	EventCodeUndelivered EventName = "code_undelivered" // none did, or its provider says so
	EventSendBlocked     EventName = "send_blocked"     // Cause: the limit, suppressed, risk, or blocked
	EventSendRecorded    EventName = "send_recorded"    // a limit would have blocked it: Cause
	EventBudgetUsed      EventName = "budget_used"      // Cause: percent of the messages in all

	EventCodeWrong     EventName = "code_wrong"      // Cause: otp_invalid or otp_attempts_exhausted
	EventVerifyBlocked EventName = "verify_blocked"  // Cause: the limit
	EventSignInRefused EventName = "sign_in_refused" // the code was right. Cause: account_disabled

	EventUserCreated    EventName = "user_created"
	EventPhoneChanged   EventName = "phone_changed" // Cause: the subject of the number before
	EventNewDevice      EventName = "new_device"    // of a user who has signed in before
	EventSessionStarted EventName = "session_started"
	EventSessionEnded   EventName = "session_ended" // Cause: the EndReason
	EventTokenRefreshed EventName = "token_refreshed"
	EventTokenReused    EventName = "token_reused"  // its session has ended
	EventTokenRefused   EventName = "token_refused" // a refresh token was; Cause: the Code
)

// What operators do. EventUserCreated is one as well.
const (
	EventUserChanged     EventName = "user_changed" // its type or roles
	EventUserBanned      EventName = "user_banned"
	EventUserUnbanned    EventName = "user_unbanned" // before its end
	EventUserReopened    EventName = "user_reopened" // a dormant account
	EventUserUnlocked    EventName = "user_unlocked" // the wrong codes of a number are forgotten
	EventUserDeleted     EventName = "user_deleted"
	EventSessionsRevoked EventName = "sessions_revoked" // Cause: session, user or all
	EventDeviceDeleted   EventName = "device_deleted"
	EventBlockAdded      EventName = "block_added" // of a country or a prefix
	EventBlockRemoved    EventName = "block_removed"
	EventKeysRotated     EventName = "keys_rotated"   // Cause: rotate, revoke or schedule
	EventUsersImported   EventName = "users_imported" // one for each import; After: how many
	EventUserExported    EventName = "user_exported"  // all that is held on one person
	EventUsersExported   EventName = "users_exported"
	EventBackupMade      EventName = "backup_made" // it has begun

	EventMasterKeyAdded    EventName = "master_key_added"    // it opens the store too
	EventMasterKeysRetired EventName = "master_keys_retired" // all but the one in use
)

// What becomes of a store whose records are taken to another one. Before and After
// are the stores' places.
const (
	EventStoreMoveStarted EventName = "store_move_started" // by an operator
	EventStoreMoveEnded   EventName = "store_move_ended"   // the records stay where they were. Cause: cancelled or broken
	EventStoreMoved       EventName = "store_moved"        // the new store answers
)

// EventNames are all that there is to hear of.
var EventNames = []EventName{
	EventCodeRequested, EventCodeDelivered, EventCodeUndelivered, EventSendBlocked, EventSendRecorded, EventBudgetUsed,
	EventCodeWrong, EventVerifyBlocked, EventSignInRefused,
	EventUserCreated, EventPhoneChanged, EventNewDevice, EventSessionStarted, EventSessionEnded,
	EventTokenRefreshed, EventTokenReused, EventTokenRefused,
	EventUserChanged, EventUserBanned, EventUserUnbanned, EventUserReopened, EventUserUnlocked, EventUserDeleted,
	EventSessionsRevoked, EventDeviceDeleted, EventBlockAdded, EventBlockRemoved, EventKeysRotated,
	EventUsersImported, EventUserExported, EventUsersExported, EventBackupMade,
	EventMasterKeyAdded, EventMasterKeysRetired,
	EventStoreMoveStarted, EventStoreMoveEnded, EventStoreMoved,
}

// Causes of EventTokenRefreshed.
const (
	CauseRotated  = "rotated"  // the generation grew
	CauseRepeated = "repeated" // the same successor again, within the grace
	CauseForgiven = "forgiven" // the same successor again, later: nobody had used it
)

// Event is something that operators want to hear of, to count or to keep. It
// holds no code, no token and no number. What is not known is zero.
type Event struct {
	Name      EventName
	At        time.Time
	Cause     string // what the name leaves open
	UserID    uint64
	SessionID SessionID
	DeviceID  string
	Subject   string // stands for a phone number: a keyed hash, always the same one for a number
	Country   string // of the number, ISO 3166
	Channel   string // sms, voice, whatsapp
	ClientIP  string

	// Of an operator's act: who, and what it has changed, as values that become
	// JSON; nil: there was, or is, nothing.
	By            string
	Before, After any
}

// tell hands an event on. It is not told about proxied requests.
func (s *Service) tell(e Event) {
	if s.Tell == nil {
		return
	}
	e.At = s.now()
	s.Tell(e)
}

// subject stands for a number where nobody is to read it.
func (s *Service) subject(phone string) string { return s.Secrets.Index("subject", phone) }

// tellOfStart tells of a request for a code.
func (s *Service) tellOfStart(name EventName, a *attempt, cause string) {
	s.tell(Event{Name: name, Cause: cause, Subject: s.subject(a.Phone), Country: a.Country, Channel: a.channel(), ClientIP: a.ClientIP})
}

// tellOfCode tells of a challenge that was made.
func (s *Service) tellOfCode(name EventName, c Challenge, cause, ip string) {
	s.tell(Event{Name: name, Cause: cause, Subject: s.subject(c.Phone), Country: c.Country, Channel: c.Channel, ClientIP: ip})
}

// tellOfSignIn tells of a session that has begun with a code, and of what was
// new about it.
func (s *Service) tellOfSignIn(v Session, c Challenge, newUser, newDevice bool, ip string) {
	switch {
	case newUser:
		s.tellOfSession(EventUserCreated, v, "", ip)
	case newDevice:
		s.tellOfSession(EventNewDevice, v, "", ip)
	}
	s.tell(Event{
		Name: EventSessionStarted, UserID: v.UserID, SessionID: v.ID, DeviceID: v.DeviceID,
		Country: c.Country, Channel: c.Channel, ClientIP: ip,
	})
}

// tellOfSession tells of a session.
func (s *Service) tellOfSession(name EventName, v Session, cause, ip string) {
	s.tell(Event{Name: name, Cause: cause, UserID: v.UserID, SessionID: v.ID, DeviceID: v.DeviceID, ClientIP: ip})
}
