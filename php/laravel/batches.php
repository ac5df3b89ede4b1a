<?php

namespace Regie\Move\Laravel;

use DateTimeInterface;
use Illuminate\Bus\BatchRepository;
use Illuminate\Contracts\Foundation\Application;

/** The batches that were made last, the latest first, from wherever the application keeps them. */
function batches(Application $app, int $count): array
{
    $moment = static fn (?DateTimeInterface $at): ?int => $at?->getTimestamp();
    $told = [];
    foreach ($app->make(BatchRepository::class)->get($count, null) as $batch) {
        $told[] = [
            'id' => $batch->id,
            'name' => $batch->name,
            'total' => $batch->totalJobs,
            'pending' => $batch->pendingJobs,
            'failed' => $batch->failedJobs,
            'progress' => $batch->progress(),
            'created' => $moment($batch->createdAt),
            'finished' => $moment($batch->finishedAt),
            'cancelled' => $moment($batch->cancelledAt),
        ];
    }

    return ['batches' => $told];
}
