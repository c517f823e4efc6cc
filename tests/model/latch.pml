/* The latch: src/shm/latch.{hpp,cpp}, with the burial of Mutex::State::acquire.
 *
 * Each participant calls acquire and release again and again, or never again. A call has a deadline
 * or none. Participants are killed at any step, at most DEATHS of them.
 *
 * Participant 3, after its call, sleeps on something that the latch guards, as LatchedObject::sleep.
 *
 * The machine: stores go through a buffer for each processor (x86-64's order, and what of arm64's
 * matters here: a release and then a load of another word); locked instructions and barriers empty
 * it. The killed run on until an interrupt or a barrier stops them; their last stores still land.
 *
 * The kernel: futex_waitv compares and queues word by word; a wake-up takes any one that is queued,
 * be it killed or not; who was killed inside leaves the queues at some later time. The keeper's end
 * marks the life word and wakes one of its sleepers. DYING SLEEPER: who dies inside of futex_waitv
 * wakes, once it has left the queues, one sleeper of the bell.
 *
 * Checked: nobody enters while somebody is inside; whoever waits without a deadline gets the latch
 * (else the run ends in a state where he sleeps: an invalid end state); at rest nobody who died is
 * unburied while 3 sleeps.
 */
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef CALLS
#define CALLS 1
#endif
#define N 3

#define FREE 0
#define ALIVE 1
#define DEAD 2

#define SLEEPERS 1
#define LIFE(q) (1 << (q))
#define BELL 16

byte holder;           /* LatchWords::holder: a place, from 1; 0: free */
bit sleepers;          /* LatchWords::sleepers */
byte life[N + 1];      /* Place::life */
bit killed[N + 1];     /* SIGKILL was sent */
bit stopped[N + 1];    /* and runs no instruction of the program any more */
bit inside[N + 1];     /* between acquire and release */
byte buffer[N + 1];    /* stores on their way, in this order: 1: sleepers = 1; 2: holder = 0 */
bit in_kernel[N + 1];  /* inside of futex_waitv */
byte queued[N + 1];    /* on which words */
bit woken[N + 1];

inline drain(who) {
  if :: (buffer[who] & 1) -> sleepers = 1 :: else fi;
  if :: (buffer[who] & 2) -> holder = 0 :: else fi;
  buffer[who] = 0
}

/* futex(2), FUTEX_WAKE of one */
inline wake_one(word) {
  if
  :: (queued[1] & (word)) -> queued[1] = queued[1] & ~(word); woken[1] = 1
  :: (queued[2] & (word)) -> queued[2] = queued[2] & ~(word); woken[2] = 1
  :: (queued[3] & (word)) -> queued[3] = queued[3] & ~(word); woken[3] = 1
  :: else
  fi
}

inline wake_all(word) {
  if :: (queued[1] & (word)) -> queued[1] = queued[1] & ~(word); woken[1] = 1 :: else fi;
  if :: (queued[2] & (word)) -> queued[2] = queued[2] & ~(word); woken[2] = 1 :: else fi;
  if :: (queued[3] & (word)) -> queued[3] = queued[3] & ~(word); woken[3] = 1 :: else fi
}

/* os::fence_all, os::await_stillness: membarrier(2). It reaches one processor after the other; that is
 * the same as all at the first moment, since what it forces may also happen by itself at any later
 * one. */
inline fence_all() {
  atomic {
    q = 1;
    do
    :: q <= N ->
       if :: q != p -> drain(q); if :: killed[q] -> stopped[q] = 1 :: else fi :: else fi;
       q++
    :: else -> q = 0; break
    od
  }
}

/* Each place in turn: one step for each, or in the coarser model one for all. */
#ifdef FINE
#define ONCE_FOR_ALL
#else
#define ONCE_FOR_ALL atomic
#endif

/* The kernel's walk, at the end of a thread that slept: see os/futex.cpp. */
inline bell() {
#ifndef MUTANT_NO_BELL
  wake_one(BELL)
#else
  skip
#endif
}

/* Latch::wake_next */
inline wake_next() {
  atomic { drain(p); sleepers = 0 };
  atomic { wake_one(SLEEPERS) }
}

proctype participant(byte p) {
  byte seen, watched, q, calls;
  bit buried;
  {
  end_between_calls:
    do
    :: break
    :: p == 3 && calls > 0 -> goto line /* it waits for something that the latch guards */
    :: calls < CALLS -> calls++;
       /* acquire: the exchange. LATCH */
       atomic { drain(p); if :: holder == 0 -> holder = p; goto entered :: else fi };
     look:
       /* Segment::watch: whom to watch */
       ONCE_FOR_ALL {
         q = 1;
         do
         :: atomic { q <= N ->
              if :: q != p && life[q] == ALIVE -> watched = watched | LIFE(q) :: else fi; q++ }
         :: atomic { else -> q = 0; break }
         od
       };
       sleepers = 1; /* ASLEEP */
#ifndef MUTANT_NO_FENCE
       fence_all();
#endif
       seen = holder;
       if
       :: seen == 0 ->
          atomic { if :: holder == 0 -> holder = p; goto entered :: else -> goto look fi } /* LATCH */
       :: else
       fi;
       if
       :: life[seen] == DEAD ->
#ifndef MUTANT_NO_STILLNESS
          fence_all(); /* TAKEOVER */
#endif
          atomic { if :: holder == seen -> holder = p; goto entered :: else -> goto look fi }
       :: life[seen] == FREE -> goto look
       :: life[seen] == ALIVE
       fi;
       /* Segment::wait, futex_waitv(2) */
       in_kernel[p] = 1;
#ifndef MUTANT_BELL_LAST
       queued[p] = BELL;
#endif
       atomic { if :: sleepers == 1 -> queued[p] = queued[p] | SLEEPERS :: else -> goto awake fi };
       ONCE_FOR_ALL {
         q = 1;
         do
         :: atomic { q <= N ->
              if
              :: (watched & LIFE(q)) && life[q] == ALIVE -> queued[p] = queued[p] | LIFE(q)
              :: (watched & LIFE(q)) && life[q] != ALIVE -> q = 0; goto awake
              :: else
              fi;
              q++ }
         :: atomic { else -> q = 0; break }
         od
       };
#ifdef MUTANT_BELL_LAST
       queued[p] = queued[p] | BELL;
#endif
       /* Asleep; once without a deadline, and once with one. */
       if :: goto awake_when_woken :: skip fi;
       if
       :: atomic { woken[p] -> goto awake }
       :: atomic { !killed[p] -> /* the deadline */
            queued[p] = 0; woken[p] = 0; in_kernel[p] = 0; seen = 0; watched = 0 };
          /* give_up: wake_next, pass_on_deaths */
#ifndef MUTANT_NO_PASSING_ON
          wake_next();
          q = 1;
          do
          :: q <= N -> atomic { if :: life[q] == DEAD -> wake_one(LIFE(q)) :: else fi; q++ }
          :: else -> q = 0; break
          od;
#endif
          goto end_between_calls
       fi;
     awake_when_woken:
       woken[p];
     awake:
       atomic { !killed[p] -> queued[p] = 0; woken[p] = 0; in_kernel[p] = 0; seen = 0; watched = 0 };
       goto look;
     line:
       /* LatchedObject::sleep. It watches as above, but not `sleepers`; nobody decides its wait. */
       calls = CALLS; watched = 0;
       ONCE_FOR_ALL {
         q = 1;
         do
         :: atomic { q <= N ->
              if :: q != p && life[q] == ALIVE -> watched = watched | LIFE(q)
                 :: q != p && life[q] == DEAD -> buried = 1
                 :: else fi; q++ }
         :: atomic { else -> q = 0; break }
         od
       };
       if :: buried -> buried = 0; watched = 0; goto tending :: else fi;
       in_kernel[p] = 1;
       queued[p] = BELL;
       ONCE_FOR_ALL {
         q = 1;
         do
         :: atomic { q <= N ->
              if
              :: (watched & LIFE(q)) && life[q] == ALIVE -> queued[p] = queued[p] | LIFE(q)
              :: (watched & LIFE(q)) && life[q] != ALIVE -> q = 0; goto line_awake
              :: else
              fi;
              q++ }
         :: atomic { else -> q = 0; break }
         od
       };
     end_in_line:
       woken[p];
     line_awake:
       atomic { !killed[p] -> queued[p] = 0; woken[p] = 0; in_kernel[p] = 0; watched = 0 };
#ifndef MUTANT_BELL_KEPT
       atomic { wake_all(SLEEPERS) }; /* Latch::pass_the_bell_on */
#endif
     tending:
       /* tend_to_deaths */
       if
       :: life[1] == DEAD || life[2] == DEAD -> /* as any call */
          atomic { drain(p); if :: holder == 0 -> holder = p; goto entered :: else -> goto look fi }
       :: else -> goto line
       fi;
     entered:
       atomic {
         seen = 0; watched = 0;
         inside[p] = 1;
         assert(!(inside[1] && !stopped[1] && p != 1));
         assert(!(inside[2] && !stopped[2] && p != 2));
         assert(!(inside[3] && !stopped[3] && p != 3))
       };
       /* Mutex::State::bury_the_dead */
       q = 1;
     burying:
       do
       :: q == p && life[p] == DEAD -> q = 0; buried = 0; goto releasing /* corrupt: it is dead itself */
       :: q <= N && q != p && life[q] == DEAD -> seen = q; fence_all(); life[seen] = FREE;
          q = seen; seen = 0; buried = 1
       :: q <= N && life[q] != DEAD -> q++
       :: q > N -> q = 0; break
       od;
       if
#ifndef MUTANT_NO_EXPECTING
       :: buried -> atomic { buffer[p] = buffer[p] | 1; buried = 0 } /* expect_sleepers */
#endif
       :: else
       fi;
     releasing:
       /* release: LATCH. Nobody took it away meanwhile. */
       atomic { assert(holder == p); buffer[p] = buffer[p] | 2; inside[p] = 0 };
       if
       :: sleepers == 1 || (buffer[p] & 1) -> wake_next()
       :: else
       fi
    od
  } unless { stopped[p] };
  /* Killed: it leaves the kernel's queues, and then the kernel walks its robust list. */
  if
  :: stopped[p] ->
     atomic { inside[p] = 0; seen = 0; watched = 0; q = 0; buried = 0; calls = 0;
       queued[p] = 0; woken[p] = 0 };
     atomic { if :: in_kernel[p] -> bell() :: else fi; in_kernel[p] = 0 }
  :: else
  fi
}

/* The keeper's end; the interrupt that stops a killed thread; a store that lands. */
proctype machine(byte p) {
end_nothing_to_do:
  do
  :: atomic { killed[p] && life[p] == ALIVE -> life[p] = DEAD; wake_one(LIFE(p)) }
  :: atomic { killed[p] && !stopped[p] -> stopped[p] = 1 }
  :: atomic { (buffer[p] & 1) -> sleepers = 1; buffer[p] = buffer[p] & ~1 }
  :: atomic { (buffer[p] & 2) && !(buffer[p] & 1) -> holder = 0; buffer[p] = 0 }
  od
}

/* Who dies: the first DEATHS participants, since all are alike. */
proctype killer(byte p) {
  if
  :: killed[p] = 1
  :: skip
  fi
}

init {
  atomic {
    life[1] = ALIVE; life[2] = ALIVE; life[3] = ALIVE;
    run machine(1); run machine(2); run machine(3);
    run participant(1); run participant(2); run participant(3);
    run killer(1);
#if DEATHS > 1
    run killer(2)
#endif
  };
  /* At rest, who waits in line has buried the dead. */
  timeout;
  atomic {
    assert(!(in_kernel[3] && (life[1] == DEAD || life[2] == DEAD)))
  }
}
