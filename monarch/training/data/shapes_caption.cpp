#include "monarch/training/data/shapes_caption.h"

#include <array>
#include <span>
#include <string_view>
#include <vector>

namespace monarch::training {
namespace {

using Words = std::vector<std::string_view>;

// The first word of each list is the plain one, and comes more often than the others.
const std::array<Words, evaluation::kNumColors> kColorWords{{{"red", "crimson", "scarlet"},
                                                             {"green", "emerald"},
                                                             {"blue", "azure"},
                                                             {"yellow", "golden"},
                                                             {"cyan", "turquoise", "aqua"},
                                                             {"magenta", "pink", "fuchsia"},
                                                             {"orange"},
                                                             {"white"}}};
const std::array<Words, evaluation::kNumKinds> kKindWords{
    {{"circle", "ball", "disc", "disk", "dot"},
     {"square", "box", "block"},
     {"triangle"},
     {"star"}}};
// Said after the shape: "a circle moving right".
const std::array<Words, evaluation::kNumMotions> kMotionWords{
    {{"moving left", "moving to the left", "going left", "sliding left", "drifting to the left",
      "travelling left", "flying left", "moving leftwards", "heading left"},
     {"moving right", "moving to the right", "going right", "sliding right",
      "drifting to the right", "travelling right", "flying right", "moving rightwards",
      "heading right"},
     {"moving up", "rising", "going up", "floating up", "moving upwards", "climbing", "flying up"},
     {"moving down", "falling", "going down", "sinking", "moving downwards", "dropping",
      "falling down"},
     {"bouncing", "bouncing up and down", "hopping", "jumping", "jumping up and down"},
     {"growing", "getting bigger", "expanding", "getting larger", "becoming bigger",
      "growing larger"},
     {"shrinking", "getting smaller", "contracting", "becoming smaller", "shrinking away"},
     {"standing still", "staying still", "not moving", "resting", "staying in place",
      "that does not move"}}};
// Said before it: "a bouncing circle"; empty where English has none.
const std::array<Words, evaluation::kNumMotions> kMotionAdjectives{
    {{},
     {},
     {"rising"},
     {"falling", "sinking"},
     {"bouncing", "hopping", "jumping"},
     {"growing", "expanding"},
     {"shrinking", "contracting"},
     {"still", "motionless", "static"}}};
const std::array<Words, 3> kSizeWords{
    {{"small", "little", "tiny"}, {"medium"}, {"large", "big", "huge"}}};
const std::array<Words, 3> kBackgroundWords{{{"black", "dark"}, {"gray", "grey"}, {"white"}}};
const Words kBackgroundForms{"on a * background", "against a * background", "over a * background",
                             "on *", "in front of a * backdrop"};
const Words kOpenings{"",       "", "", "", "", "a video of ", "there is ", "an animation of ",
                      "we see "};
const Words kJoins{" and ", " and ", ", and ", " with ", " next to ", ", "};

// The plain word half of the time.
std::string_view pick(const Words& words, ShapesRng& rng) {
  if (rng.chance(0.4F)) return words.front();
  return words[static_cast<std::size_t>(rng.index(static_cast<int>(words.size())))];
}

template <typename Table, typename Key>
const Words& words_for(const Table& table, Key key) {
  return table[static_cast<std::size_t>(key)];
}

std::string with_article(const std::string& noun) {
  const bool vowel = std::string_view("aeiou").find(noun.front()) != std::string_view::npos;
  return (vowel ? "an " : "a ") + noun;
}

std::string background_phrase(std::string_view form, std::string_view word) {
  std::string phrase(form);
  phrase.replace(phrase.find('*'), 1, word);
  return phrase;
}

std::string object_phrase(const ShapeObject& object, ShapesRng& rng) {
  const std::string color(pick(words_for(kColorWords, object.color), rng));
  const std::string kind(pick(words_for(kKindWords, object.kind), rng));
  const Words& adjectives = words_for(kMotionAdjectives, object.motion);
  const std::string size = object.size == ShapeSize::kMedium
                               ? ""
                               : std::string(pick(words_for(kSizeWords, object.size), rng)) + " ";
  const std::string motion(pick(words_for(kMotionWords, object.motion), rng));
  if (object.motion == ShapeMotion::kStill && rng.chance(0.2F))
    return with_article(size + color + " " + kind);
  if (!adjectives.empty() && rng.chance(0.2F)) {
    const std::string adjective(pick(adjectives, rng));
    return rng.chance(0.5F) ? with_article(adjective + " " + size + color + " " + kind)
                            : with_article(size + adjective + " " + color + " " + kind);
  }
  const bool clause = motion.starts_with("that ");
  if (rng.chance(0.1F)) return with_article(size + kind + ", " + color + ", " + motion);
  if (!clause && rng.chance(0.1F))
    return with_article(size + kind + " that is " + color + " and " + motion);
  if (!clause && rng.chance(0.15F))
    return with_article(size + color + " " + kind + " that is " + motion);
  if (!clause && rng.chance(0.1F)) return with_article(size + color + " " + kind + " is " + motion);
  return with_article(size + color + " " + kind + " " + motion);
}

}  // namespace

std::string caption_scene(const ShapesScene& scene, ShapesRng& rng) {
  std::string text = object_phrase(scene.objects[0], rng);
  if (scene.objects.size() > 1)
    text += std::string(pick(kJoins, rng)) + object_phrase(scene.objects[1], rng);
  const bool say_background = scene.background != ShapesBackground::kBlack || rng.chance(0.3F);
  const std::string background = background_phrase(
      pick(kBackgroundForms, rng), pick(words_for(kBackgroundWords, scene.background), rng));
  const bool background_first = rng.chance(0.2F);
  const std::string opening(
      kOpenings[static_cast<std::size_t>(rng.index(static_cast<int>(kOpenings.size())))]);
  if (say_background && background_first) {
    text = background + ", " + opening + text;
  } else {
    text = opening + text;
    if (say_background) text += " " + background;
  }
  if (rng.chance(0.15F)) text.front() = static_cast<char>(text.front() - 'a' + 'A');
  if (rng.chance(0.15F)) text += ".";
  return text;
}

std::string plain_caption(const ShapesScene& scene) {
  std::string text;
  for (const ShapeObject& object : scene.objects) {
    std::string noun;
    if (object.size != ShapeSize::kMedium)
      noun += std::string(words_for(kSizeWords, object.size).front()) + " ";
    noun += std::string(evaluation::color_name(object.color)) + " " +
            std::string(evaluation::kind_name(object.kind)) + " " +
            std::string(words_for(kMotionWords, object.motion).front());
    text += (text.empty() ? "" : " and ") + with_article(noun);
  }
  if (scene.background != ShapesBackground::kBlack) {
    text += " " + background_phrase(kBackgroundForms.front(),
                                    words_for(kBackgroundWords, scene.background).front());
  }
  return text;
}

}  // namespace monarch::training
