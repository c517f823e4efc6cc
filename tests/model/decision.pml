/* A call that waits, and who decides: LatchedObject::wait_for, the table's serve, bury and
 * wake_decided, and Transaction::commit_if with recovery.
 *
 * Two calls, 1 and 2, are in line for one unit each of a semaphore whose value is 0. A giver,
 * 3, adds UNITS units in as many calls, and serves each time. Calls wait without a deadline or with one, which passes at any
 * step. Participants are killed before any step, KILLS in all. The latch is free or held here; that
 * nobody of the dead runs on, and that sleepers of a dead process lose no wake-up, is latch.pml's.
 *
 * Checked: a call that was granted took its unit, once, and one that failed took none; whoever holds
 * the latch, after recovery, finds all units accounted for. When all has come to rest: nobody sleeps
 * whose wait is decided, nor for a unit that is there, and nobody who died is left unburied while
 * somebody waits.
 */
#define N 3
#ifndef KILLS
#define KILLS 1
#endif

#ifndef UNITS
#define UNITS 1
#endif

#define FREE 0
#define ALIVE 1
#define DEAD 2

mtype = { free, waits, sleeps, cancelled, granted };

byte holder;
byte life[N + 1];
byte value;         /* of the semaphore */
byte given;         /* units added, by operations that were done: with them or not at all */
mtype state[3];     /* Waiter::state */
bit linked[3];      /* in line */
byte count, decision, entry_value, entry_at; /* Journal: value and link of one record, decided by its state */
byte wakes[N + 1];  /* WakeList of each: calls, as bits */
bit asleep[3], woken[3];
byte watched[3];    /* whose life words the sleeper is queued on, as bits */
byte lost;          /* units granted to calls that died before they saw it */
byte got;           /* units that calls returned with */
byte kills;

#define UNDECIDED(s) (s == waits || s == sleeps)
#define BIT(q) (1 << (q))

/* futex(2): wake on a record's state */
inline wake_call(c) {
  if :: asleep[c] -> woken[c] = 1 :: else fi
}

/* The kernel marks a life word and wakes one of its sleepers. */
inline die(q) {
  life[q] = DEAD;
  kills++;
  if :: q < 3 -> asleep[q] = 0; watched[q] = 0 :: else fi;
  if
  :: asleep[1] && (watched[1] & BIT(q)) -> watched[1] = watched[1] & ~BIT(q); woken[1] = 1
  :: asleep[2] && (watched[2] & BIT(q)) -> watched[2] = watched[2] & ~BIT(q); woken[2] = 1
  :: else
  fi
}

/* store_all: idempotent. */
inline store_all() {
  value = entry_value;
  linked[entry_at] = 0;
  atomic { count = 0; decision = 0; entry_value = 0; entry_at = 0 }
}

/* serve: grants what can be granted; takes cancelled records out of the line. */
inline serve() {
  c = 1;
  do
  :: c > 2 -> c = 0; break
  :: c <= 2 && !linked[c] -> c++
  :: c <= 2 && linked[c] && state[c] == cancelled ->
     atomic { linked[c] = 0; state[c] = free }; c = 1 /* drop_here: one transaction, see recovery.pml */
  :: c <= 2 && linked[c] && UNDECIDED(state[c]) && value == 0 -> c++
  :: c <= 2 && linked[c] && value > 0 ->
     seen = state[c];
     if
     :: !UNDECIDED(seen)
     :: else ->
#ifdef MUTANT_STORED_BEFORE_DECIDED
        value = value - 1;
        linked[c] = 0;
        atomic {
          if
          :: state[c] == seen -> state[c] = granted;
             if :: seen == sleeps -> wakes[p] = wakes[p] | BIT(c) :: else fi
          :: else
          fi
        };
#else
        /* commit_if */
        entry_value = value - 1;
        entry_at = c;
        decision = c;
        count = 2;
        atomic {
          if
          :: state[c] == seen -> state[c] = granted; done = 1 /* DECIDE, COMMIT */
          :: else -> done = 0
          fi
        };
        if
        :: done -> store_all();
           if :: seen == sleeps -> wakes[p] = wakes[p] | BIT(c) :: else fi
        :: else -> atomic { count = 0; decision = 0; entry_value = 0; entry_at = 0 }
        fi;
#endif
        c = 1
     fi;
     seen = 0; done = 0
  od
}

/* lock: the latch, and what the dead left. */
inline lock() {
  atomic { holder == 0 || life[holder] == DEAD -> holder = p };
  /* recover */
  if
  :: count != 0 ->
#ifndef MUTANT_DECISION_NOT_READ
     if
     :: UNDECIDED(state[decision]) || state[decision] == cancelled ->
        atomic { count = 0; decision = 0; entry_value = 0; entry_at = 0 }
     :: else -> store_all()
     fi
#else
     store_all()
#endif
  :: else
  fi;
  /* bury_the_dead */
  q = 1;
  do
  :: q <= N && life[q] == DEAD ->
     if
     :: q < 3 && state[q] == granted -> atomic { state[q] = free; lost++ }
     :: q < 3 && state[q] != granted -> atomic { linked[q] = 0; state[q] = free }
     :: else
     fi;
     life[q] = FREE;
     buried = 1;
     q++
  :: q <= N && life[q] != DEAD -> q++
  :: q > N -> q = 0; break
  od;
  if
  :: buried -> buried = 0;
#ifndef MUTANT_DECIDED_NOT_WOKEN
     /* wake_decided */
     atomic {
       if :: state[1] == granted -> wakes[p] = wakes[p] | BIT(1) :: else fi;
       if :: state[2] == granted -> wakes[p] = wakes[p] | BIT(2) :: else fi
     };
#endif
     serve()
  :: else
  fi;
  assert(value + lost + got + (state[1] == granted) + (state[2] == granted) == given)
}

/* release, and then wake_all. */
inline unlock() {
  holder = 0;
  if :: wakes[p] & BIT(1) -> atomic { wake_call(1) } :: else fi;
  if :: wakes[p] & BIT(2) -> atomic { wake_call(2) } :: else fi;
  wakes[p] = 0
}

proctype giver(byte p) {
  byte c, q;
  mtype seen;
  bit done, buried;
  {
    do
    :: given < UNITS ->
       lock();
       atomic { value++; given++ }; /* a transaction of one word */
       serve();
       unlock()
    :: else -> break
    od
  } unless { life[p] != ALIVE }
}

/* wait_for. The record was put in line by init. */
proctype caller(byte p) {
  byte c, q, watching;
  mtype seen;
  bit done, buried, expired;
  {
    do
    :: !UNDECIDED(state[p]) -> break /* DECIDE */
    :: atomic { state[p] == waits -> state[p] = sleeps }
    :: atomic { state[p] == sleeps ->
         /* Segment::watch */
         watching = 0; q = 1;
         do
         :: q <= N ->
            if
            :: q != p && life[q] == ALIVE -> watching = watching | BIT(q)
            :: q != p && life[q] == DEAD -> buried = 1
            :: else
            fi;
            q++
         :: else -> q = 0; break
         od };
       if
       :: buried
       :: else ->
          /* futex_waitv: state still sleeps, lives still alive */
          atomic {
            if
            :: state[p] == sleeps &&
               (!(watching & BIT(1)) || life[1] == ALIVE) &&
               (!(watching & BIT(2)) || life[2] == ALIVE) &&
               (!(watching & BIT(3)) || life[3] == ALIVE) ->
               asleep[p] = 1; watched[p] = watching
            :: else -> goto awake
            fi
          };
          if :: goto until_woken :: skip fi; /* without a deadline, and with one */
          done = 1;
          goto awake;
        until_woken:
        end_asleep:
          woken[p]
       fi;
     awake:
       atomic { asleep[p] = 0; woken[p] = 0; watched[p] = 0; watching = 0; buried = 0 };
       /* tend_to_deaths */
#ifndef MUTANT_DEATHS_NOT_TENDED
       if
       :: life[1] == DEAD || life[2] == DEAD || life[3] == DEAD ->
          expired = done; done = 0;
          lock(); serve(); unlock();
          done = expired; expired = 0
       :: else
       fi;
#endif
       if
       :: done -> done = 0;
          seen = state[p];
          if
          :: UNDECIDED(seen) ->
             atomic { if :: state[p] == seen -> state[p] = cancelled; goto failed :: else fi }
          :: else
          fi;
          seen = 0
       :: else
       fi
    od;
    assert(state[p] == granted);
    atomic { state[p] = free; got++ };
  failed:
    skip
  } unless { life[p] != ALIVE }
}

proctype killer() {
  do
  :: kills < KILLS -> atomic {
       if
       :: life[1] == ALIVE -> die(1)
       :: life[2] == ALIVE -> die(2)
       :: life[3] == ALIVE -> die(3)
       :: else
       fi
     }
  :: break
  od
}

init {
  atomic {
    life[1] = ALIVE; life[2] = ALIVE; life[3] = ALIVE;
    state[1] = waits; state[2] = waits; linked[1] = 1; linked[2] = 1;
    run caller(1); run caller(2); run giver(3); run killer()
  };
  timeout;
  assert(!(asleep[1] && (!UNDECIDED(state[1]) || value > 0)));
  assert(!(asleep[2] && (!UNDECIDED(state[2]) || value > 0)));
  assert(!(asleep[1] || asleep[2]) ||
         (life[1] != DEAD && life[2] != DEAD && life[3] != DEAD))
}
