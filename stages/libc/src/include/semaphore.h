/* There is one thread, so that a semaphore is a counter: to wait for one that
   is 0 would last for ever and is an error instead. */
#ifndef _SEMAPHORE_H
#define _SEMAPHORE_H

typedef struct {
    unsigned int count;
} sem_t;

int sem_init(sem_t *semaphore, int shared, unsigned int count);
int sem_wait(sem_t *semaphore);
int sem_post(sem_t *semaphore);

#endif
