/* The journal, recovery and burial: src/shm/transaction.{hpp,cpp}, and bury and undo_all of
 * src/objects/semaphore_table.cpp under LatchedObject::lock and bury_the_dead.
 *
 * Participants take a unit of one semaphore with undo, or give it back, each time in a transaction
 * of two words. They are killed before any store, KILLS times in all, so also while they recover,
 * bury, and recover from each other. In a place that was freed a newcomer stands. Of one thread's
 * stores there remains a beginning, and nobody of the dead runs on: latch.pml has that.
 *
 * Checked, whenever the latch is held and what the dead left is done: the units that there are and
 * those to be undone add up, so each operation and each burial has happened once, as a whole or not
 * at all; and who comes finds nothing to be undone in its place.
 */
#define N 3
#define UNITS 2
#ifndef KILLS
#define KILLS 2
#endif
#ifndef CALLS
#define CALLS 2
#endif

#define FREE 0
#define ALIVE 1
#define DEAD 2

byte holder;
byte life[N + 1];
bit killed[N + 1];
byte word[N + 1]; /* 0: the semaphore's value; p: what is to be undone for place p */
byte entry_word[2], entry_value[2], count; /* Journal */
byte kills;

inline store_all() {
  word[entry_word[0]] = entry_value[0];
  word[entry_word[1]] = entry_value[1];
  atomic { count = 0; entry_word[0] = 0; entry_word[1] = 0; entry_value[0] = 0; entry_value[1] = 0 }
}

/* Two words: Transaction::set twice, commit_all, store_all. COMMIT */
inline commit(w0, v0, w1, v1) {
#ifdef MUTANT_STORE_BEFORE_JOURNAL
  word[w0] = v0;
  word[w1] = v1;
#else
#ifdef MUTANT_COUNT_FIRST
  count = 2;
#endif
  entry_word[1] = w1;
  entry_value[1] = v1;
  entry_word[0] = w0;
  entry_value[0] = v0;
  count = 2;
  store_all()
#endif
}

proctype participant(byte p) {
  byte at, calls;
end_outside:
  do
  :: {
  end_between_calls:
    do
    :: atomic { life[p] == FREE && calls < CALLS -> /* claim */
         assert(word[p] == 0);
         life[p] = ALIVE }
    :: life[p] == ALIVE -> break
    od;
  end_idle:
    if
    :: atomic { calls < CALLS && (holder == 0 || life[holder] == DEAD) -> holder = p; calls++ }
    fi;
    /* recover */
#ifndef MUTANT_NOT_RECOVERED
    if
    :: count != 0 -> store_all()
    :: else
    fi;
#endif
    /* bury, undo_all, free_place */
    at = 1;
    do
    :: at <= N && life[at] == DEAD ->
#ifdef MUTANT_FREED_BEFORE_UNDONE
       life[at] = FREE;
#endif
       if
       :: word[at] != 0 ->
#ifdef MUTANT_UNDONE_IN_PARTS
          word[0] = word[0] + word[at];
          word[at] = 0;
#else
          commit(0, word[0] + word[at], at, 0);
#endif
       :: else
       fi;
       life[at] = FREE; /* FREE */
       at++
    :: at <= N && life[at] != DEAD -> at++
    :: at > N -> at = 0; break
    od;
    assert(word[0] + word[1] + word[2] + word[3] == UNITS);
    /* the operation */
    if
    :: word[0] > 0 -> commit(0, word[0] - 1, p, word[p] + 1)
    :: word[p] > 0 -> commit(p, word[p] - 1, 0, word[0] + 1)
    :: else
    fi;
    assert(word[0] + word[1] + word[2] + word[3] == UNITS);
    holder = 0 /* release. LATCH */
  } unless { killed[p] };
  /* Somebody else may come in its place, once it is free. */
  end_dead:
    atomic { life[p] != DEAD -> killed[p] = 0; at = 0 }
  od
}

proctype killer() {
end_spared:
  do
  :: atomic { kills < KILLS && life[1] == ALIVE -> life[1] = DEAD; killed[1] = 1; kills++ }
  :: atomic { kills < KILLS && life[2] == ALIVE -> life[2] = DEAD; killed[2] = 1; kills++ }
  od
}

init {
  atomic {
    word[0] = UNITS;
    run participant(1); run participant(2); run participant(3);
    run killer()
  }
}
