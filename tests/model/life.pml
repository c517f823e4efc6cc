/* The life word: Segment::claim, leave and free_place, the claim lock, and the kernel's walk at the
 * end of a keeper. src/shm/segment.cpp, src/os/keeper.{hpp,cpp}
 *
 * Participants in different PID namespaces attach, leave, attach again, and are killed at any step,
 * the first DEATHS of them. The keepers of 1 and 2 have the same thread id, each in its own
 * namespace; that of 3 has another. A survivor buries the dead, as
 * bury_the_dead does, one for each place.
 *
 * The kernel, at the end of a keeper, takes each word on its list for its own that holds its thread
 * id, whoever wrote that. The killed run on until an interrupt or a barrier stops them; but the
 * exchange that claims does not come after the walk (with RUNS_ON it may: docs/known_gaps.md). The
 * claim lock is dropped when the last thread has ended, so after the walk.
 *
 * Checked: the kernel marks nobody who lives, and nobody's place is freed under him; once all has
 * come to rest, no place belongs to one who was killed or left: each was marked and buried.
 */
#define N 3
#ifndef PLACES
#define PLACES 1
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef CALLS
#define CALLS 2
#endif

#define TID(p) (p == 3 -> 2 : 1)
#define BIT(at) (1 << (at))

byte word[PLACES + 1];  /* Place::life without its highest bits: the keeper's thread id, or 0 */
bit died[PLACES + 1];   /* Place::life: FUTEX_OWNER_DIED */
byte owner[PLACES + 1]; /* who stands there, for the checks alone */
byte listed[N + 1];     /* the places whose nodes are on the keeper's list */
byte claim_lock;        /* who has it */
bit killed[N + 1];
bit stopped[N + 1];     /* killed, and runs no instruction any more */
byte walk[N + 1];       /* the kernel's, of the keeper's list: 1 under way, 2 done */

#ifdef MUTANT_NO_CLAIM_LOCK
#define LOCK skip
#define UNLOCK skip
#else
#define LOCK atomic { claim_lock == 0 -> claim_lock = p }
#define UNLOCK claim_lock = 0
#endif

#ifdef RUNS_ON
#define MAY_CLAIM true
#else
#define MAY_CLAIM walk[p] == 0
#endif

inline list() { listed[p] = listed[p] | BIT(at) }
inline unlist() { listed[p] = listed[p] & ~BIT(at) }

/* stand_at: the exchange */
inline claim_word() {
  atomic {
    MAY_CLAIM ->
    if :: word[at] == 0 && !died[at] -> word[at] = TID(p); owner[at] = p :: else fi
  }
}

proctype participant(byte p) {
  byte at, calls;
  {
  end_outside:
    do
    :: break
    :: calls < (p == 3 -> 1 : CALLS) -> calls++;
       LOCK;
       at = 1;
       do
       :: at <= PLACES && (word[at] != 0 || died[at]) -> at++ /* first_free. FREE */
       :: else -> break
       od;
       if
       :: at > PLACES -> UNLOCK; at = 0 /* no_space */
       :: else ->
#ifdef MUTANT_CLAIM_BEFORE_NODE
          claim_word(); list();
#else
          list(); claim_word();
#endif
          if
          :: owner[at] != p -> unlist(); UNLOCK; at = 0
          :: else ->
             UNLOCK;
             if :: goto stays :: skip fi;
             /* ~Segment, leave */
#ifndef MUTANT_LEAVE_WITHOUT_LOCK
             LOCK;
#endif
#ifdef MUTANT_FORGOTTEN_BEFORE_DEAD
             unlist();
             atomic { died[at] = 1; owner[at] = 0 };
#else
             atomic { died[at] = 1; owner[at] = 0 };
             unlist();
#endif
#ifndef MUTANT_LEAVE_WITHOUT_LOCK
             UNLOCK;
#endif
             at = 0
          fi
       fi
    od;
  stays:
    skip
  } unless { stopped[p] };
  skip
}

/* What the kernel and the processors do to one who was killed. */
proctype machine(byte p) {
  byte at;
end_nothing_to_do:
  do
  :: atomic { killed[p] && !stopped[p] -> stopped[p] = 1 }
  :: atomic { killed[p] && walk[p] == 0 -> walk[p] = 1; at = 1 };
     do
     :: atomic { at <= PLACES ->
          if
          :: (listed[p] & BIT(at)) && word[at] == TID(p) -> /* handle_futex_death */
             assert(owner[at] == p || (owner[at] == 0 && died[at]));
             word[at] = 0; died[at] = 1; owner[at] = 0
          :: else
          fi;
          at++ }
     :: atomic { else -> at = 0; walk[p] = 2; break }
     od
  :: atomic { stopped[p] && walk[p] == 2 && claim_lock == p -> claim_lock = 0 }
  od
}

/* bury_the_dead: stillness, clean up, free_place. FREE */
proctype survivor(byte at) {
end_nobody_to_bury:
  do
  :: died[at] ->
     atomic { stopped[1] = killed[1]; stopped[2] = killed[2]; stopped[3] = killed[3] };
     atomic { assert(owner[at] == 0); word[at] = 0; died[at] = 0 }
  od
}

proctype killer(byte p) {
  if
  :: killed[p] = 1
  :: skip
  fi
}

/* Once all has come to rest. */
inline check(at) {
  assert(!died[at] && (word[at] == 0 || (owner[at] != 0 && !killed[owner[at]])))
}

init {
  atomic {
    run machine(1); run machine(2); run machine(3);
    run participant(1); run participant(2); run participant(3);
    run survivor(1);
#if PLACES > 1
    run survivor(2);
#endif
    run killer(1);
#if DEATHS > 1
    run killer(2);
#endif
  }
  timeout;
  check(1);
#if PLACES > 1
  check(2)
#endif
}
